//! Generates the types of every document that is there, compiles them, and plays all examples through them.
//!
//! Documents are the `.json` files of `FAL_OPENAPI_CORPUS`, else of `../shared/openapi`, with a `__` in their names, and
//! the same in its folders. Without either, those of the mock.

#![expect(clippy::print_stdout, reason = "the report is what it is for")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use fal_codegen::Generator;
use fal_protocol::schema::{ModelSchema, SchemaError, parse_dump};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let build = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => "build",
        ["--clippy"] => "clippy",
        _ => {
            eprintln!("usage: codegen-all [--clippy]");
            return ExitCode::FAILURE;
        }
    };
    match all(build) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("codegen-all: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn all(build: &str) -> Outcome<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize()?;
    let sets = documents(&root)?;
    let folder = root.join("target/codegen-all");
    let mut report = Report::default();
    let mut parts = Vec::new();
    for documents in &sets {
        for chunk in documents.chunks(PART_DOCUMENTS_MAX) {
            let name = format!("part-{:02}", parts.len());
            write_part(&folder.join(&name), chunk, &mut report)?;
            parts.push(Part { name, files: chunk.to_vec() });
        }
    }
    write_workspace(&root, &folder, &parts)?;
    report.print();

    cargo(&root, &folder, &["build", "--quiet", "--package", "fal-codegen-check", "--lib"])?;
    let start = Instant::now();
    cargo(&root, &folder, &[build, "--quiet", "--workspace"])?;
    println!(
        "compiled        {:.1} s ({build}, {} crates)",
        start.elapsed().as_secs_f64(),
        parts.len()
    );
    if build == "build" {
        cargo(&root, &folder, &["run", "--quiet", "--package", "codegen-all-play"])?;
    }
    Ok(())
}

/// Documents in sets in which each endpoint occurs once: the files of the corpus, and those of each of its folders.
fn documents(root: &Path) -> Outcome<Vec<Vec<PathBuf>>> {
    let named = std::env::var_os("FAL_OPENAPI_CORPUS").map(PathBuf::from);
    let corpus = named.unwrap_or_else(|| root.join("../shared/openapi"));
    if !corpus.is_dir() {
        println!("there is no corpus at {}: only the documents of the mock", corpus.display());
        return Ok(vec![entries(&root.join("mock-server/models"), |_| true)?]);
    }
    let is_document = |path: &Path| {
        path.extension().is_some_and(|ending| ending == "json")
            && path.file_name().is_some_and(|name| name.to_string_lossy().contains("__"))
    };
    let mut sets = vec![entries(&corpus, is_document)?];
    for folder in entries(&corpus, Path::is_dir)? {
        sets.push(entries(&folder, is_document)?);
    }
    sets.retain(|set| !set.is_empty());
    Ok(sets)
}

fn entries(folder: &Path, is_wanted: impl Fn(&Path) -> bool) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        found.push(entry?.path());
    }
    found.retain(|path| is_wanted(path));
    found.sort();
    Ok(found)
}

struct Part {
    name: String,
    files: Vec<PathBuf>,
}

#[derive(Default)]
struct Report {
    lines: Vec<usize>,
    times: Vec<Duration>,
    defects: BTreeMap<String, usize>,
}

impl Report {
    fn print(&mut self) {
        self.lines.sort_unstable();
        self.times.sort_unstable();
        let of = |list: &[usize], percent: usize| list[(list.len() - 1) * percent / 100];
        let total: usize = self.lines.iter().sum();
        println!("documents       {}", self.lines.len());
        println!(
            "lines           {total}; per endpoint median {}, p90 {}, max {}",
            of(&self.lines, 50),
            of(&self.lines, 90),
            of(&self.lines, 100)
        );
        let time: Duration = self.times.iter().sum();
        println!(
            "generated       {:.2} s, {:.2} ms per endpoint (reading included)",
            time.as_secs_f64(),
            time.as_secs_f64() * 1000.0 / self.lines.len() as f64
        );
        println!("defects met     {}", self.defects.values().sum::<usize>());
    }
}

fn write_part(folder: &Path, files: &[PathBuf], report: &mut Report) -> Outcome<()> {
    let start = Instant::now();
    let mut generator = Generator::new();
    for file in files {
        generator = generator.file(file)?;
    }
    let code = generator.generate()?;
    report.times.push(start.elapsed());
    report.lines.extend(code.endpoints().iter().map(|endpoint| endpoint.lines));
    for model in files.iter().filter_map(|file| models(file).ok()).flatten() {
        for defect in model.defects() {
            *report.defects.entry(defect.kind.to_string()).or_default() += 1;
        }
    }
    let mut lib = String::from(
        "//! Types of some models.\n\nuse fal_codegen_check::play::{Types, types};\n\n/// All of them.\n\
         #[must_use]\npub fn all() -> Vec<Types> {\n    vec![\n",
    );
    for endpoint in code.endpoints() {
        _ = writeln!(lib, "        types::<fal::{}>(),", endpoint.input);
    }
    lib.push_str("    ]\n}\n\n/// The models.\npub mod fal;\n");
    fs::create_dir_all(folder.join("src"))?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    write(&folder.join("Cargo.toml"), &manifest(&name, DEPENDENCIES))?;
    write(&folder.join("src/lib.rs"), &lib)?;
    code.write(folder.join("src/fal.rs"))?;
    Ok(())
}

/// A crate with ordinary settings, in which every warning is an error.
fn manifest(name: &str, dependencies: &str) -> String {
    format!(
        "[package]\nname = \"codegen-all-{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\n\n\
         [dependencies]\n{dependencies}\n\
         [lints.rust]\nunsafe_code = \"forbid\"\nwarnings = \"deny\"\nmissing_docs = \"deny\"\n\n\
         [lints.clippy]\nall = {{ level = \"deny\", priority = -1 }}\n"
    )
}

const DEPENDENCIES: &str = "fal-client = { path = \"../../../crates/fal-client\" }\n\
                            fal-codegen-check = { path = \"../../../crates/fal-codegen/check\" }\n";

fn write_workspace(root: &Path, folder: &Path, parts: &[Part]) -> Outcome<()> {
    let mut dependencies = String::from(DEPENDENCIES);
    dependencies.push_str("fal-protocol = { path = \"../../../crates/fal-protocol\" }\n");
    let mut main = String::from(
        "//! Plays the examples of documents through generated types.\n\nfn main() -> std::process::ExitCode {\n    \
         fal_codegen_check::play::main(&[\n",
    );
    let mut members = String::from("\"play\"");
    for Part { name, files } in parts {
        let crate_name = format!("codegen_all_{}", name.replace('-', "_"));
        _ = writeln!(dependencies, "codegen-all-{name} = {{ path = \"../{name}\" }}");
        _ = write!(members, ", {name:?}");
        _ = writeln!(main, "        ({crate_name}::all(), &{files:?}),");
    }
    main.push_str("    ])\n}\n");
    fs::create_dir_all(folder.join("play/src"))?;
    write(&folder.join("play/Cargo.toml"), &manifest("play", &dependencies))?;
    write(&folder.join("play/src/main.rs"), &main)?;
    let workspace = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [{members}]\n\n[profile.dev]\ndebug = false\nincremental = false\n"
    );
    write(&folder.join("Cargo.toml"), &workspace)?;
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(())
}

fn write(path: &Path, text: &str) -> Outcome<()> {
    // What has not changed is not compiled again.
    if fs::read(path).is_ok_and(|known| known == text.as_bytes()) {
        return Ok(());
    }
    Ok(fs::write(path, text)?)
}

fn models(file: &Path) -> Outcome<Vec<ModelSchema>> {
    let bytes = fs::read(file)?;
    match parse_dump(&bytes) {
        Ok(entries) => Ok(entries.into_iter().filter_map(|entry| entry.model.ok()).collect()),
        Err(SchemaError::NotADump) => Ok(vec![ModelSchema::parse(&bytes)?]),
        Err(error) => Err(error.into()),
    }
}

fn cargo(root: &Path, folder: &Path, arguments: &[&str]) -> Outcome<()> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(program)
        .args(arguments)
        .args(["--offline"])
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", root.join("target/codegen-all/target"))
        .status()?;
    match status.success() {
        true => Ok(()),
        false => {
            Err(format!("`cargo {}` failed in {}", arguments.join(" "), folder.display()).into())
        }
    }
}

/// Documents of one crate: about 20,000 lines, which a compiler takes in a minute.
const PART_DOCUMENTS_MAX: usize = 90;
