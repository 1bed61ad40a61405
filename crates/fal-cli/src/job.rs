//! `status`, `result` and `cancel`: commands about a job that exists.

use fal_client::{CancelOutcome, Event, OnDeadline, Output, State, Status as JobStatus};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::connect;
use crate::exit::Exit;
use crate::flags::{Cancel, Global, ResultFlags, Status};
use crate::job_name;
use crate::problem::Problem;
use crate::run::{self, OnStop, deliver, follow};
use crate::save;
use crate::show::Show;
use crate::signals::Signals;

pub(crate) async fn status(
    global: &Global,
    flags: Status,
    show: &mut Show,
) -> Result<Exit, Problem> {
    let handle = job_name::read(&flags.handle)?;
    let client = match flags.watch {
        true => connect::client(global)?,
        false => connect::quick_client(global)?,
    };
    let queue =
        client.queue(handle.endpoint.as_str()).map_err(|e| Problem::of(e.into(), global))?;
    let mut signals = Signals::new()?;
    if flags.watch {
        let (sender, events) = mpsc::unbounded_channel();
        let watch = queue.watch(&handle).logs(flags.logs).on_update(move |event: &Event| {
            // The receiver lives as long as the watch.
            let _ = sender.send(event.clone());
        });
        show.doing("watching");
        match run::listen(watch.into_future(), events, &mut signals, show).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(Problem::of(error, global)),
            None => return Err(run::left(Some(&handle), global)),
        }
    }
    let status = tokio::select! {
        biased;
        () = signals.next() => return Err(run::left(Some(&handle), global)),
        status = queue.status(&handle, flags.logs) => status,
    };
    let status = status.map_err(|error| Problem::of(error, global))?;
    let line = show
        .new_line("status")
        .with("handle", &handle)
        .with("status", status.state.as_str())
        .maybe("queue_position", status.queue_position)
        .maybe("logs", flags.logs.then_some(&status.logs))
        .maybe("metrics", (!status.metrics.is_null()).then_some(&status.metrics))
        .maybe("error", status.error.as_deref())
        .maybe("error_type", status.error_type.as_deref());
    show.answer(line, &words(&status), status.state.as_str());
    Ok(Exit::Ok)
}

pub(crate) async fn result(
    global: &Global,
    flags: ResultFlags,
    show: &mut Show,
) -> Result<Exit, Problem> {
    let handle = job_name::read(&flags.handle)?;
    if let Some(dir) = &flags.out {
        save::prepare(dir)?;
    }
    let client = match flags.wait {
        true => connect::client(global)?,
        false => connect::quick_client(global)?,
    };
    let mut signals = Signals::new()?;
    let output: Output = if flags.wait {
        let mut job = client.attach(handle).on_deadline(OnDeadline::Leave);
        if let Some(deadline) = flags.deadline {
            job = job.deadline(deadline);
        }
        show.doing("waiting");
        follow(job.start(), OnStop::Leave, global, &mut signals, show).await?
    } else {
        let queue =
            client.queue(handle.endpoint.as_str()).map_err(|e| Problem::of(e.into(), global))?;
        let result = tokio::select! {
            biased;
            () = signals.next() => return Err(run::left(Some(&handle), global)),
            result = queue.result(&handle) => result,
        };
        result.map_err(|error| Problem::of(error, global))?
    };
    deliver(&client, &output, flags.out.as_deref(), global, &mut signals, show).await
}

pub(crate) async fn cancel(
    global: &Global,
    flags: Cancel,
    show: &mut Show,
) -> Result<Exit, Problem> {
    let handle = job_name::read(&flags.handle)?;
    let client = connect::quick_client(global)?;
    let queue =
        client.queue(handle.endpoint.as_str()).map_err(|e| Problem::of(e.into(), global))?;
    let outcome = queue.cancel(&handle).await.map_err(|error| Problem::of(error, global))?;
    let name = match outcome {
        CancelOutcome::Cancelled => "cancelled",
        CancelOutcome::Requested => "requested",
        CancelOutcome::AlreadyCompleted => "already_completed",
        CancelOutcome::NotFound => {
            return Err(Problem::new(Exit::Refused, outcome.to_string()).with_handle(Some(&handle)));
        }
        _ => "other",
    };
    let line = show.new_line("result").with("handle", &handle).with("outcome", name);
    show.answer(line, &outcome.to_string(), name);
    if outcome == CancelOutcome::AlreadyCompleted {
        show.closing_note(&job_name::later(&handle, global));
    }
    Ok(Exit::Ok)
}

/// A status for people.
fn words(status: &JobStatus) -> String {
    let mut text = status.state.to_string();
    if let (State::InQueue, Some(position)) = (&status.state, status.queue_position) {
        text.push_str(&format!(", position {position}"));
    }
    if let Some(seconds) = status.metrics.get("inference_time").and_then(Value::as_f64) {
        text.push_str(&format!(", {seconds:.2} s of inference"));
    }
    match (&status.error, &status.error_type) {
        (Some(error), Some(name)) => text.push_str(&format!(", failed: {error} [{name}]")),
        (Some(error), None) | (None, Some(error)) => text.push_str(&format!(", failed: {error}")),
        (None, None) => {}
    }
    for line in &status.logs {
        text.push_str(&format!("\n  {}", line.message));
    }
    text
}
