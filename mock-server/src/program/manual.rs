//! Manual pages and completions, made of the definition of the flags.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum as _;
use clap_complete::Shell;

/// Writes them, if the program was called as `fal-mock manual DIR`: `man/` and `completions/` in that folder.
///
/// That is no command among the others, or it would have a page and completions itself.
pub(crate) fn manual(command: clap::Command) -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().filter(|first| first == "manual")?;
    let dir = PathBuf::from(arguments.next()?);
    Some(match write(&dir, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => crate::complain(&format!("{}: {error}", dir.display())),
    })
}

fn write(dir: &Path, mut command: clap::Command) -> io::Result<()> {
    let (pages, completions) = (dir.join("man"), dir.join("completions"));
    fs::create_dir_all(&pages)?;
    fs::create_dir_all(&completions)?;
    for shell in Shell::value_variants() {
        clap_complete::generate_to(*shell, &mut command, "fal-mock", &completions)?;
    }
    clap_mangen::generate_to(command, &pages)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_has_a_page_and_every_shell_its_completions() {
        let dir = std::env::temp_dir().join(format!("fal-mock-manual-{}", std::process::id()));
        write(&dir, crate::Cli::command()).unwrap();
        let page = |name: &str| fs::read_to_string(dir.join("man").join(name)).unwrap();
        assert!(page("fal-mock.1").contains("queue\\-time"));
        for command in ["serve", "exec", "env", "live", "check"] {
            let text = page(&format!("fal-mock-{command}.1"));
            assert!(text.starts_with(".ie") && text.contains(command), "{command}: {text}");
        }
        let bash = fs::read_to_string(dir.join("completions/fal-mock.bash")).unwrap();
        assert!(bash.contains("--stop-on-eof"));
        assert_eq!(fs::read_dir(dir.join("completions")).unwrap().count(), 5);
        fs::remove_dir_all(dir).unwrap();
    }
}
