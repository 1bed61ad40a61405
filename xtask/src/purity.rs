//! What the compiled core imports from its environment: nothing.
//!
//! Reads the names of symbols in the libraries that cargo builds for the core and for everything that
//! is compiled into it. A call of `Instant::now` leaves the name of that function in the library of
//! the caller, also where a macro, a generic function or a dependency made the call, so this sees what
//! no search of the sources does. The names are searched as bytes: no `nm` is needed, whose versions
//! disagree about rustc's object files. A test compiles bad examples with today's compiler, because
//! the names follow its mangling.
//!
//! Blind spots: a call that the optimiser removed, and functions that nothing instantiates.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::Outcome;
use crate::command::{cargo, output_of};
use crate::metadata::Metadata;

/// Builds the core with all features and searches it.
pub(crate) fn purity() -> Outcome {
    let expected = Metadata::read()?.closure(CORE);
    let libraries = build()?;
    if !libraries.contains_key(CORE) {
        return Err(format!("cargo built no library for {CORE}"));
    }
    // A package that is only for other platforms has no library here.
    let searched = expected.iter().filter(|name| libraries.contains_key(*name)).count();
    eprintln!(
        "searching {searched} libraries; {} are for other platforms",
        expected.len() - searched
    );

    let mut problems = Vec::new();
    let mut unused: Vec<&Exception> = EXCEPTIONS.iter().collect();
    for (package, path) in libraries.iter().filter(|(package, _)| expected.contains(*package)) {
        let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        for import in environment_imports(&bytes) {
            unused.retain(|exception| !exception.covers(package, import));
            if !EXCEPTIONS.iter().any(|exception| exception.covers(package, import)) {
                problems.push(format!("{package} imports {import}"));
            }
        }
    }
    problems.extend(unused.iter().map(|exception| {
        format!(
            "the exception of {} for {} is not needed any more",
            exception.package, exception.import
        )
    }));
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// The libraries of the core and its dependencies, by package.
fn build() -> Result<BTreeMap<String, PathBuf>, String> {
    let arguments =
        ["build", "-p", CORE, "--all-features", "--message-format=json-render-diagnostics"];
    let text = output_of(&mut cargo(&arguments))?;
    let mut libraries = BTreeMap::new();
    for line in text.lines() {
        let message: Value =
            serde_json::from_str(line).map_err(|error| format!("cargo build: {error}"))?;
        let files = message["filenames"].as_array().into_iter().flatten();
        let library = files.filter_map(Value::as_str).find(|file| file.ends_with(".rlib"));
        if let Some(library) = library {
            libraries.insert(package_of(&message).to_owned(), PathBuf::from(library));
        }
    }
    Ok(libraries)
}

/// The package of a cargo message: its id ends in `…/name#1.0.0` or `…#name@1.0.0`.
fn package_of(message: &Value) -> &str {
    let id = message["package_id"].as_str().unwrap_or_default();
    let (address, fragment) = id.rsplit_once('#').unwrap_or((id, id));
    match fragment.split_once('@') {
        Some((name, _)) => name,
        None => address.rsplit('/').next().unwrap_or_default(),
    }
}

/// Names of [`FORBIDDEN`] whose symbols occur in a library.
fn environment_imports(library: &[u8]) -> Vec<&'static str> {
    let words: Vec<&str> = library
        .split(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.')))
        .filter(|word| word.len() > 4)
        .filter_map(|word| std::str::from_utf8(word).ok())
        .filter(|word| is_mangled(word) || C_FUNCTIONS.contains(word))
        .collect();
    let is_used = |parts: &[&str]| words.iter().any(|word| contains_in_order(word, parts));
    let mut found: Vec<&str> =
        FORBIDDEN.iter().filter(|(_, parts)| is_used(parts)).map(|(name, _)| *name).collect();
    found.extend(C_FUNCTIONS.iter().filter(|name| is_c_symbol(library, name)));
    found
}

fn is_mangled(word: &str) -> bool {
    // Mach-O puts one more underscore before every name.
    ["_R", "_ZN", "__R", "__ZN"].iter().any(|start| word.starts_with(start))
}

fn contains_in_order(mut word: &str, parts: &[&str]) -> bool {
    parts.iter().all(|part| match word.split_once(part) {
        Some((_, rest)) => {
            word = rest;
            true
        }
        None => false,
    })
}

/// Whether `name` stands alone in a string table, which has zero bytes around each name.
fn is_c_symbol(library: &[u8], name: &str) -> bool {
    let bounded = [&[0], name.as_bytes(), &[0]].concat();
    library.windows(bounded.len()).any(|window| window[1] == bounded[1] && *window == bounded)
}

/// Something that a dependency may import although the core may not.
struct Exception {
    package: &'static str,
    import: &'static str,
    #[expect(dead_code, reason = "read by people")]
    reason: &'static str,
}

impl Exception {
    fn covers(&self, package: &str, import: &str) -> bool {
        self.package == package && self.import == import
    }
}

const CORE: &str = "fal-protocol";

const EXCEPTIONS: &[Exception] = &[
    Exception {
        package: "bytes",
        import: "std::process",
        reason: "it aborts when a reference count overflows",
    },
    Exception {
        package: "http",
        import: "random hash keys",
        reason: "a header map hashes with random keys once many names collide; its order stays the same",
    },
];

/// Parts of mangled names, in order. Both manglings write each part of a path with its length before.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("Instant::now", &["3std", "4time", "7Instant3now"]),
    ("Instant::elapsed", &["3std", "4time", "7Instant7elapsed"]),
    ("SystemTime::now", &["3std", "4time", "10SystemTime3now"]),
    ("std::env", &["3std3env"]),
    ("std::fs", &["3std2fs"]),
    ("std::net", &["3std3net"]),
    ("std::process", &["3std7process"]),
    ("standard input and output", &["3std2io5stdio"]),
    ("thread::sleep", &["3std6thread", "5sleep"]),
    ("thread::spawn", &["3std6thread", "15spawn_unchecked"]),
    ("random hash keys", &["3std", "19hashmap_random_keys"]),
    ("getrandom", &["9getrandom"]),
];

/// What a crate would call past the standard library.
const C_FUNCTIONS: [&str; 11] = [
    "clock_gettime",
    "clock_nanosleep",
    "getentropy",
    "getenv",
    "getrandom",
    "gettimeofday",
    "nanosleep",
    "open64",
    "openat",
    "pthread_create",
    "socket",
];

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// Compiles `source` as a library and searches it.
    #[track_caller]
    fn imports_of(name: &str, source: &str) -> Vec<&'static str> {
        let path =
            std::env::temp_dir().join(format!("xtask-purity-{}-{name}.rlib", std::process::id()));
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut compiler = Command::new(rustc)
            .args(["--edition=2024", "--crate-type=rlib", "--crate-name=example", "-", "-o"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        compiler.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
        assert!(compiler.wait().unwrap().success());
        let library = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        environment_imports(&library)
    }

    #[test]
    fn every_bad_example_is_found() {
        for (index, (body, import)) in [
            ("let _ = std::time::Instant::now();", "Instant::now"),
            ("let _ = std::time::SystemTime::now();", "SystemTime::now"),
            ("let _ = std::env::var(\"A\");", "std::env"),
            ("let _ = std::fs::read(\"a\");", "std::fs"),
            ("let _ = std::net::TcpStream::connect(\"a:1\");", "std::net"),
            ("std::process::abort();", "std::process"),
            ("println!(\"a\");", "standard input and output"),
            ("std::thread::sleep(std::time::Duration::ZERO);", "thread::sleep"),
            ("std::thread::spawn(|| ());", "thread::spawn"),
            ("let _ = std::collections::HashMap::<u8, u8>::new();", "random hash keys"),
            ("unsafe extern \"C\" { safe fn nanosleep(); } nanosleep();", "nanosleep"),
        ]
        .into_iter()
        .enumerate()
        {
            let found = imports_of(&index.to_string(), &format!("pub fn example() {{ {body} }}"));
            assert!(found.contains(&import), "{body} gave {found:?}");
        }
        let macro_made = "macro_rules! m { () => { std::time::Instant::now() } }
            fn generic<T>() { let _ = m!(); }
            pub fn example() { generic::<u8>() }";
        assert_eq!(imports_of("macro", macro_made), ["Instant::now"]);
    }

    #[test]
    fn good_example_is_clean() {
        let source = "use std::collections::BTreeMap;
            use std::time::{Duration, Instant};
            pub fn later(now: Instant, by: Duration) -> Option<Instant> { now.checked_add(by) }
            pub fn words(text: &str) -> BTreeMap<&str, String> {
                text.split(' ').map(|word| (word, format!(\"{word:?} getenv std::env\"))).collect()
            }";
        assert_eq!(imports_of("good", source), [""; 0]);
    }

    #[test]
    fn packages_are_named() {
        for (id, name) in [
            ("registry+https://github.com/rust-lang/crates.io-index#bytes@1.12.2", "bytes"),
            ("path+file:///src/crates/fal-protocol#0.1.0", "fal-protocol"),
            ("path+file:///src/core#fal-protocol@0.1.0", "fal-protocol"),
        ] {
            assert_eq!(package_of(&serde_json::json!({ "package_id": id })), name);
        }
    }
}
