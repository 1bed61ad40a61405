//! Lines of shells.

/// A shell that can be told to set variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shell {
    /// `bash`, and every other shell of the POSIX family, such as `zsh` and `dash`.
    Bash,
    /// `fish`.
    Fish,
    /// PowerShell on any system.
    PowerShell,
}

/// A kind of program, by what it looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Runtime {
    /// Python, with `httpx`, `requests`, `websockets` or `ssl`.
    Python,
    /// Node.js.
    Node,
    /// `curl`.
    Curl,
    /// Rust, with this workspace's client or with another that takes the system's roots of trust.
    Rust,
}

impl Shell {
    /// Appends the line that sets a variable, or takes it away.
    pub(super) fn push_line(self, out: &mut String, name: &str, value: Option<&str>) {
        let line = match (self, value) {
            (Self::Bash, Some(value)) => format!("export {name}={}\n", self.quote(value)),
            (Self::Bash, None) => format!("unset {name}\n"),
            (Self::Fish, Some(value)) => format!("set -gx {name} {}\n", self.quote(value)),
            (Self::Fish, None) => format!("set -e {name}\n"),
            (Self::PowerShell, Some(value)) => format!("$env:{name} = {}\n", self.quote(value)),
            (Self::PowerShell, None) => {
                format!("Remove-Item Env:{name} -ErrorAction SilentlyContinue\n")
            }
        };
        out.push_str(&line);
    }

    /// A word in which nothing has a meaning.
    fn quote(self, text: &str) -> String {
        let mut word = String::with_capacity(text.len() + 2);
        word.push('\'');
        for c in text.chars() {
            match (self, c) {
                (Self::Bash, '\'') => word.push_str("'\\''"),
                (Self::Fish, '\'' | '\\') => word.extend(['\\', c]),
                // It takes typographic quotes for quotes as well.
                (Self::PowerShell, '\'' | '\u{2018}'..='\u{201b}') => word.extend([c, c]),
                _ => word.push(c),
            }
        }
        word.push('\'');
        word
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_those_of_the_shell() {
        let lines = |shell: Shell| {
            let mut out = String::new();
            shell.push_line(&mut out, "A", Some(r"it's a\b $x"));
            shell.push_line(&mut out, "B", None);
            out
        };
        assert_eq!(lines(Shell::Bash), "export A='it'\\''s a\\b $x'\nunset B\n");
        assert_eq!(lines(Shell::Fish), "set -gx A 'it\\'s a\\\\b $x'\nset -e B\n");
        let want = "$env:A = 'it''s a\\b $x'\nRemove-Item Env:B -ErrorAction SilentlyContinue\n";
        assert_eq!(lines(Shell::PowerShell), want);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        #[cfg(unix)]
        fn a_shell_reads_what_was_written(value in "[^\\x00]{0,40}") {
            let mut script = String::new();
            Shell::Bash.push_line(&mut script, "VALUE", Some(&value));
            script.push_str("printf %s \"$VALUE\"");
            let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
        }
    }
}
