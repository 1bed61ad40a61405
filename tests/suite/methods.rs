//! The README's tables of the official clients' public methods, made from what their checks say.
//!
//! A check names the methods that it exercises and the door that it used; a table says the same, or its test
//! fails. `FAL_WRITE_TABLES=1 cargo xtask test` writes the tables anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;

use serde_json::Value;

/// The doors by which each public method was seen to work.
#[derive(Debug, Default)]
pub(crate) struct Methods(BTreeMap<String, BTreeSet<String>>);

impl Methods {
    /// Takes the report of a check that has passed.
    pub(crate) fn add(&mut self, check: &Value) {
        let door = check["door"].as_str().expect("every check names its door");
        for method in check["methods"].as_array().expect("every check names its methods") {
            let method = method.as_str().expect("a method is named").to_owned();
            self.0.entry(method).or_default().insert(door.to_owned());
        }
    }

    /// Compares them with the table of the README that has this name, or writes that.
    ///
    /// `ours` knows what does the same in this workspace, as Markdown.
    #[track_caller]
    pub(crate) fn check_table(&self, name: &str, ours: impl Fn(&str) -> Option<&'static str>) {
        let mut table = String::from("| Method | Works by | Ours |\n|---|---|---|\n");
        for (method, doors) in &self.0 {
            let doors: Vec<&str> = doors.iter().map(String::as_str).collect();
            let ours = ours(method).unwrap_or_else(|| panic!("{name}: what is ours of {method}?"));
            table += &format!("| `{method}` | {} | {ours} |\n", doors.join(", "));
        }
        check_part("README.md", name, &table);
    }
}

/// Compares a part of a Markdown file at the root or below with what it should say, or writes it. It stands between
/// `<!-- NAME -->` and `<!-- end of NAME -->`.
#[track_caller]
pub(crate) fn check_part(file: &str, name: &str, part: &str) {
    let alone = README.lock().expect("no test has panicked while it wrote");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read_to_string(&path).expect("the file is there");
    let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let from = text.find(&start).expect("there is a place for the part") + start.len();
    let to = from + text[from..].find(&end).expect("the place has an end");
    if std::env::var_os("FAL_WRITE_TABLES").is_some() {
        let text = format!("{}{part}{}", &text[..from], &text[to..]);
        std::fs::write(&path, text).expect("the file can be written");
    } else {
        drop(alone);
        let problem = "the part is out of date: FAL_WRITE_TABLES=1 writes it anew";
        assert_eq!(&text[from..to], part, "{file}, {name}: {problem}");
    }
}

static README: Mutex<()> = Mutex::new(());
