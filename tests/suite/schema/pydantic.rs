//! Our validation as the service does it, beside pydantic and FastAPI, which the service's apps validate with.
//!
//! For each document `judge_inputs.py` builds the models that its authors may have written, and routes that take
//! them. Both sides judge the same inputs, and must say the same: whether it fits, and if not, the same list of
//! problems in the same order, each with the same `loc`, `type`, `msg`, `ctx` and `input`. Our `url` is fal's own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use fal_conformance::vectors::{folder, load};
use fal_protocol::rand::SplitMix64;
use fal_protocol::schema::{ECHO_BYTES_MAX, Mode, ModelSchema};
use serde_json::{Value, json};

use super::changes::changes;
use super::documents::{bundled, constructs, corpus};
use super::figures;
use super::generate::{generate, seed_of};
use crate::py_client::{is_installed, python, sources};
use crate::vectors::schema::document;

#[test]
fn service_mode_agrees_with_pydantic() {
    if let Err(reason) = is_installed() {
        assert!(std::env::var("CI").is_err(), "{reason}");
        println!("skipped: {reason}");
        return;
    }
    let mut judge = Judge::start();
    let own: Vec<(String, Value)> = constructs().into_iter().chain(bundled()).collect();
    check("bundled", &compare(&mut judge, &own));
    let corpus = corpus();
    if corpus.is_empty() {
        return;
    }
    let sample: Vec<_> = corpus.iter().step_by(SAMPLE).cloned().collect();
    check("sample", &compare(&mut judge, &sample));
    if std::env::var("FAL_VALIDATION").is_ok_and(|extent| extent == "all") {
        check("corpus", &compare(&mut judge, &corpus));
    }
}

/// The vectors say what pydantic says.
#[test]
fn vectors_are_pydantics_word() {
    if let Err(reason) = is_installed() {
        assert!(std::env::var("CI").is_err(), "{reason}");
        println!("skipped: {reason}");
        return;
    }
    let mut judge = Judge::start();
    let mut judged = 0;
    for file in load(&folder()).expect("the vectors can be read") {
        for vector in file.vectors.iter().filter(|_| file.area == "schema") {
            let input = vector.part("given")["input"].clone();
            let answers = judge.ask(&vector.id, &document(vector), &[input]);
            let detail = if answers[0].is_null() { json!([]) } else { answers[0].clone() };
            assert_eq!(detail, vector.part("expect")["detail"], "{}", vector.id);
            judged += 1;
        }
    }
    assert!(judged > 0, "no vector of the area was found");
}

fn compare(judge: &mut Judge, documents: &[(String, Value)]) -> Tally {
    let mut tally = Tally { documents: documents.len(), ..Tally::default() };
    for (name, document) in documents {
        let model = ModelSchema::from_value(document).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut rng = SplitMix64::new(seed_of(name));
        let schema = super::reference::input_schema(document);
        let valid = generate(document, schema, &mut rng, 0);
        let mut inputs = changes(document, schema, &valid);
        inputs.push(valid);
        let answers = judge.ask(name, document, &inputs);
        assert_eq!(answers.len(), inputs.len(), "{name}");
        for (input, theirs) in inputs.iter().zip(&answers) {
            tally.add(name, &model, input, theirs);
        }
    }
    tally
}

/// What came of comparing the documents of one set.
#[derive(Debug, Default)]
struct Tally {
    documents: usize,
    fitting: usize,
    refused: usize,
    differing: BTreeMap<&'static str, usize>,
    /// Differences that are not listed: how many of each sort, and the first of them.
    unknown: BTreeMap<String, (usize, String)>,
}

impl Tally {
    fn add(&mut self, name: &str, model: &ModelSchema, input: &Value, theirs: &Value) {
        let ours = model.validate(input, Mode::AsFal).to_json();
        let ours = match ours["detail"].as_array() {
            Some(problems) if !problems.is_empty() => {
                problems.iter().cloned().map(without_url).collect()
            }
            _ => Value::Null,
        };
        self.refused += usize::from(!theirs.is_null());
        self.fitting += usize::from(theirs.is_null() && ours.is_null());
        if ours == *theirs {
            return;
        }
        match known(&ours, theirs) {
            Some(kind) => *self.differing.entry(kind).or_default() += 1,
            None => {
                let first = || format!("{name}: {}", first_difference(&ours, theirs));
                self.unknown.entry(sort(&ours, theirs)).or_insert_with(|| (0, first())).0 += 1;
            }
        }
    }
}

/// The first problem in which two lists differ, of both.
fn first_differing<'a>(ours: &'a Value, theirs: &'a Value) -> [&'a Value; 2] {
    let mut at = 0;
    while ours[at] == theirs[at] {
        at += 1;
    }
    [&ours[at], &theirs[at]]
}

fn first_difference(ours: &Value, theirs: &Value) -> String {
    let [ours, theirs] = first_differing(ours, theirs);
    let short = |problem: &Value| problem.to_string().chars().take(500).collect::<String>();
    format!("\n  ours   {}\n  theirs {}", short(ours), short(theirs))
}

/// What such differences have in common.
fn sort(ours: &Value, theirs: &Value) -> String {
    let [ours, theirs] = first_differing(ours, theirs);
    let members = ["loc", "type", "msg", "ctx", "input"];
    let differing = members.into_iter().filter(|member| ours.get(*member) != theirs.get(*member));
    format!("{} {} {:?}", ours["type"], theirs["type"], differing.collect::<Vec<_>>())
}

fn without_url(mut problem: Value) -> Value {
    problem.as_object_mut().expect("a problem is an object").remove("url");
    problem
}

/// Which of the listed differences this is.
fn known(ours: &Value, theirs: &Value) -> Option<&'static str> {
    if theirs.get("failed").is_some() {
        return Some("server-error");
    }
    let (Some(ours), Some(theirs)) = (ours.as_array(), theirs.as_array()) else { return None };
    let is_cut = ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(ours, theirs)| {
            let mut cut = theirs.clone();
            cut["input"] = ours["input"].clone();
            *ours == cut
                && (ours == theirs || theirs["input"].to_string().len() > ECHO_BYTES_MAX / 2)
        });
    is_cut.then_some("input-cut")
}

/// Says what was counted. What differs must be of a kind that is listed with a reason, as often as is written down.
#[track_caller]
fn check(set: &str, tally: &Tally) {
    let unknown: Vec<String> = (tally.unknown.iter())
        .map(|(sort, (count, first))| format!("{count} times {sort}, first in {first}"))
        .collect();
    assert!(unknown.is_empty(), "{set}: what is not listed differs:\n{}", unknown.join("\n"));
    let reasons = &figures::read()["reasons"];
    for kind in tally.differing.keys() {
        assert!(reasons[kind].is_string(), "{set}: why is {kind:?} accepted?");
    }
    assert!(tally.fitting > 20 && tally.refused > 20, "{tally:?} shows nothing");
    let counted = json!({
        "documents": tally.documents,
        "inputs that both take": tally.fitting,
        "inputs that pydantic refuses": tally.refused,
        "accepted differences": tally.differing,
    });
    figures::check("pydantic", set, &counted);
}

/// The program that asks pydantic.
struct Judge {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Judge {
    fn start() -> Self {
        let mut process = Command::new(python())
            .arg(sources().join("judge_inputs.py"))
            // No file of the tree is to change.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python can be started");
        let stdin = process.stdin.take().expect("it is piped");
        let stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, stdin, stdout }
    }

    #[track_caller]
    fn ask(&mut self, name: &str, document: &Value, inputs: &[Value]) -> Vec<Value> {
        let question = json!({"document": document, "inputs": inputs});
        writeln!(self.stdin, "{question}").expect("the judge listens");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the judge answers");
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{name}: {e}"));
        match answer["answers"].as_array() {
            Some(answers) => answers.clone(),
            None => panic!("{name}: {}", answer["refused"]),
        }
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Of the corpus each document of this number is always judged; `cargo xtask validation` judges all.
const SAMPLE: usize = 8;
