//! The figures of `VALIDATION.md`, which the tests that measure them keep: `validation.json` holds them, and the page
//! shows them. `FAL_WRITE_TABLES=1` writes both anew.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::Value;

/// Compares what a test has counted with what is written down, or writes it down.
///
/// Figures of the set `bundled` are the same everywhere. Those of the corpus count only where it is, and where it has as
/// many documents as when they were written.
#[track_caller]
#[allow(clippy::print_stdout, reason = "the run shows what it has counted")]
pub(crate) fn check(section: &str, set: &str, counted: &Value) {
    println!("{section}, {set}: {counted}");
    let alone = FILES.lock().expect("no test has panicked while it wrote");
    let mut figures = read();
    let written = &mut figures[section][set];
    if written == counted {
        return;
    }
    if std::env::var_os("FAL_WRITE_TABLES").is_some() {
        *written = counted.clone();
        let text = serde_json::to_string_pretty(&figures).expect("figures are JSON") + "\n";
        std::fs::write(path("validation.json"), text).expect("it can be written");
        std::fs::write(path("VALIDATION.md"), page(&figures)).expect("it can be written");
        return;
    }
    if set != "bundled" && written["documents"] != counted["documents"] {
        println!("{section}: this is another corpus than the figures are of");
        return;
    }
    let written = written.clone();
    drop(alone);
    panic!(
        "{section}, {set}: FAL_WRITE_TABLES=1 writes the figures anew\nwritten {written}\ncounted {counted}"
    );
}

/// The page, with the parts between its marks made from the figures.
fn page(figures: &Value) -> String {
    let mut page = std::fs::read_to_string(path("VALIDATION.md")).expect("there is a page");
    for (name, table) in [
        ("documents", by_set(&figures["documents"])),
        ("jsonschema", by_set(&figures["jsonschema"])),
        ("pydantic", by_set(&figures["pydantic"])),
        ("reasons", reasons_table(&figures["reasons"])),
        ("answers", by_set(&figures["answers"])),
        ("examples", by_set(&figures["examples"])),
        ("bad examples", bad_examples(&figures["bad examples"])),
    ] {
        let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
        let from = page.find(&start).unwrap_or_else(|| panic!("a place for {name}")) + start.len();
        let to = from + page[from..].find(&end).unwrap_or_else(|| panic!("an end of {name}"));
        page.replace_range(from..to, &table);
    }
    page
}

/// One row for each figure, one column for each set of documents; a figure may be a list of figures.
fn by_set(sets: &Value) -> String {
    let sets = sets.as_object().expect("a section has sets");
    let mut rows: Vec<String> = Vec::new();
    for set in sets.values() {
        for row in flat(set) {
            if !rows.contains(&row.0) {
                rows.push(row.0);
            }
        }
    }
    let mut table = String::from("| |");
    sets.keys().for_each(|name| table += &format!(" {name} |"));
    table += &format!("\n|---|{}\n", "---:|".repeat(sets.len()));
    for row in rows {
        table += &format!("| {row} |");
        for set in sets.values() {
            let figure = flat(set).into_iter().find(|(name, _)| *name == row);
            table += &format!(" {} |", figure.map_or_else(|| 0.into(), |(_, figure)| figure));
        }
        table.push('\n');
    }
    table
}

fn flat(set: &Value) -> Vec<(String, Value)> {
    let mut rows = Vec::new();
    for (name, figure) in set.as_object().into_iter().flatten() {
        match figure.as_object() {
            Some(inner) => {
                rows.extend(inner.iter().map(|(kind, n)| (format!("{name}: {kind}"), n.clone())))
            }
            None => rows.push((name.clone(), figure.clone())),
        }
    }
    // Details last.
    rows.sort_by_key(|(name, _)| (name != "documents", name.contains(": ")));
    rows
}

fn reasons_table(reasons: &Value) -> String {
    let mut table = String::from("| Kind | Why it is accepted |\n|---|---|\n");
    for (kind, reason) in reasons.as_object().into_iter().flatten() {
        table += &format!("| {kind} | {} |\n", reason.as_str().unwrap_or_default());
    }
    table
}

fn bad_examples(sets: &Value) -> String {
    let mut table = String::from("| Endpoint | Field | What is given |\n|---|---|---|\n");
    for (place, why) in sets["corpus"]["bad"].as_object().into_iter().flatten() {
        let (endpoint, field) = place.split_once(' ').unwrap_or((place, ""));
        table += &format!("| `{endpoint}` | `{field}` | {} |\n", why.as_str().unwrap_or_default());
    }
    table
}

/// All that is written down.
pub(crate) fn read() -> Value {
    let text = std::fs::read_to_string(path("validation.json")).expect("it belongs to the tests");
    serde_json::from_str(&text).expect("it is JSON")
}

fn path(name: &str) -> PathBuf {
    // The tests of two packages include this file.
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(name)
}

static FILES: Mutex<()> = Mutex::new(());

#[test]
fn page_shows_the_figures() {
    let alone = FILES.lock().expect("no test has panicked while it wrote");
    let figures = read();
    let written = std::fs::read_to_string(path("VALIDATION.md")).expect("there is a page");
    let wanted = page(&figures);
    drop(alone);
    assert!(
        written == wanted || std::env::var_os("FAL_WRITE_TABLES").is_some(),
        "VALIDATION.md does not show what validation.json holds: FAL_WRITE_TABLES=1 writes it anew"
    );
}
