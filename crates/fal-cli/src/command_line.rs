//! Command lines with flags that are not this program's but the model's.
//!
//! clap gets its own flags and the model's id; what is left keeps its order until the model's document says
//! which flags take a value.

use std::collections::BTreeMap;
use std::ffi::OsString;

use fal_client::EndpointId;

/// A part of the command line that describes the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// `--name`, or `--name=value`.
    Flag {
        /// Without the dashes.
        name: String,
        /// What follows the `=`.
        value: Option<String>,
    },
    /// Anything else: a field such as `key=value`, or the value of the flag before it.
    Word(String),
}

/// A command line, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    /// What clap reads.
    pub(crate) args: Vec<OsString>,
    /// What the model's document explains.
    pub(crate) rest: Vec<Token>,
    /// Whether help is asked for, and of which model.
    pub(crate) wants_help: bool,
}

/// Takes a command line apart. Only [`COMMANDS`] know flags of models.
pub(crate) fn sort(args: impl IntoIterator<Item = OsString>, command: &clap::Command) -> Sorted {
    let mut args = args.into_iter();
    let mut sorted = Sorted::default();
    sorted.args.extend(args.next());
    let global = own_flags(command);
    let mut own = None;
    while own.is_none() {
        let Some(arg) = args.next() else { return sorted };
        let text = arg.to_string_lossy().into_owned();
        sorted.args.push(arg);
        match text.strip_prefix("--") {
            Some(flag) if global.get(flag) == Some(&true) => sorted.args.extend(args.next()),
            _ if text.starts_with('-') => {}
            _ if COMMANDS.contains(&&*text) => {
                own = command.find_subcommand(&text).map(own_flags);
            }
            _ => {
                sorted.args.extend(args);
                return sorted;
            }
        }
    }
    let own = own.unwrap_or_default();
    let mut help = None;
    let mut endpoint = None;
    let mut only_words = false;
    while let Some(arg) = args.next() {
        let Ok(text) = arg.clone().into_string() else {
            sorted.args.push(arg);
            continue;
        };
        if only_words {
            sorted.rest.push(Token::Word(text));
            continue;
        }
        match text.strip_prefix("--") {
            Some("") => only_words = true,
            Some("help") => help = Some(arg),
            Some(flag) => {
                let (name, value) = match flag.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (flag, None),
                };
                match own.get(name).or_else(|| global.get(name)) {
                    Some(takes_value) => {
                        sorted.args.push(arg);
                        if *takes_value && value.is_none() {
                            sorted.args.extend(args.next());
                        }
                    }
                    None => sorted.rest.push(Token::Flag { name: name.to_owned(), value }),
                }
            }
            None if text == "-h" => help = Some(arg),
            None if is_short(&text) => sorted.args.push(arg),
            None => {
                let may_be_value =
                    matches!(sorted.rest.last(), Some(Token::Flag { value: None, .. }));
                let is_endpoint =
                    endpoint.is_none() && (!may_be_value || EndpointId::parse(&text).is_ok());
                if is_endpoint {
                    endpoint = Some(arg);
                } else {
                    sorted.rest.push(Token::Word(text));
                }
            }
        }
    }
    // Help of a command comes from clap, help of a model from its document.
    sorted.wants_help = help.is_some() && endpoint.is_some();
    sorted.args.extend(help.filter(|_| !sorted.wants_help));
    sorted.args.extend(endpoint.into_iter().flat_map(|id| ["--".into(), id]));
    sorted
}

/// `-r`, but neither `-` for stdin nor a number.
fn is_short(text: &str) -> bool {
    text.len() > 1 && text.starts_with('-') && text.parse::<f64>().is_err()
}

/// The long flags of a command, and whether a value follows.
pub(crate) fn own_flags(command: &clap::Command) -> BTreeMap<String, bool> {
    let mut flags = BTreeMap::from([("help".to_owned(), false), ("version".to_owned(), false)]);
    for arg in command.get_arguments() {
        let takes_value = arg.get_action().takes_values();
        flags.extend(arg.get_long().map(|name| (name.to_owned(), takes_value)));
    }
    flags
}

/// The commands whose inputs a model's document explains.
pub(crate) const COMMANDS: [&str; 3] = ["run", "submit", "stream"];

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};
    use proptest::prelude::*;

    use super::*;
    use crate::flags::Flags;

    #[track_caller]
    fn check(line: &str, args: &str, rest: &[Token]) {
        let sorted = sort(line.split(' ').map(OsString::from), &Flags::command());
        let text: Vec<String> =
            sorted.args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        assert_eq!((&*text.join(" "), &*sorted.rest), (args, rest), "{line}");
        Flags::try_parse_from(&sorted.args).unwrap();
    }

    fn flag(name: &str) -> Token {
        Token::Flag { name: name.to_owned(), value: None }
    }

    fn word(text: &str) -> Token {
        Token::Word(text.to_owned())
    }

    #[test]
    fn own_flags_are_told_from_the_models() {
        check(
            "x run -q a/b --prompt cat --deadline 10m seed=1 --json --n=2 -- --y",
            "x run -q --deadline 10m --json -- a/b",
            &[
                flag("prompt"),
                word("cat"),
                word("seed=1"),
                Token::Flag { name: "n".to_owned(), value: Some("2".to_owned()) },
                word("--y"),
            ],
        );
        check(
            "x --base-url http://h submit a/b --seed -1 --input - --sync-mode",
            "x --base-url http://h submit --input - -- a/b",
            &[flag("seed"), word("-1"), flag("sync-mode")],
        );
        check("x run --prompt cat a/b", "x run -- a/b", &[flag("prompt"), word("cat")]);
        check("x stream a/b p=1 --method=GET", "x stream --method=GET -- a/b", &[word("p=1")]);
        check("x status a/b/requests/1 --logs", "x status a/b/requests/1 --logs", &[]);
    }

    #[test]
    fn help_of_a_model_is_not_help_of_a_command() {
        for (line, wants_help, args) in [
            ("x run a/b --help", true, "x run -- a/b"),
            ("x run -h a/b --seed 1", true, "x run -- a/b"),
            ("x run --help", false, "x run --help"),
            ("x run -h", false, "x run -h"),
            ("x --help", false, "x --help"),
            ("x", false, "x"),
        ] {
            let sorted = sort(line.split(' ').map(OsString::from), &Flags::command());
            let text: Vec<_> = sorted.args.iter().map(|arg| arg.to_string_lossy()).collect();
            assert_eq!((sorted.wants_help, &*text.join(" ")), (wants_help, args), "{line}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost(words in prop::collection::vec("(--?)?[a-z]{0,3}(=[a-z]?)?|a/b|-1", 0..8)) {
            let line = ["x", "run"].map(str::to_owned).into_iter().chain(words.iter().cloned());
            let sorted = sort(line.map(OsString::from), &Flags::command());
            let marks = words.iter().filter(|word| matches!(&***word, "--" | "--help" | "-h")).count();
            let kept = sorted.args.iter().filter(|arg| !matches!(arg.to_str(), Some("--" | "--help" | "-h"))).count();
            prop_assert!(kept - 2 + sorted.rest.len() + marks >= words.len());
        }
    }
}
