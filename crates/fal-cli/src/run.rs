//! `run` and `submit`: calls that begin a job.

use std::path::Path;
use std::time::Duration;

use fal_client::typed::FromOutput;
use fal_client::{
    Aftermath, Client, Error, Event, Handle, Input, Output, PlatformRetries, RetryBudgets,
    Subscribe, Subscription,
};
use tokio::sync::mpsc;

use crate::connect;
use crate::exit::Exit;
use crate::flags::{Call, Global, OnDeadline, Priority, Run, Submit};
use crate::given;
use crate::job_name;
use crate::problem::Problem;
use crate::save;
use crate::show::Show;
use crate::signals::Signals;

/// Sets on a call what its flags ask of the platform.
macro_rules! with_platform {
    ($call:expr, $flags:expr) => {{
        let mut call = $call;
        if let Some(switch) = $flags.store_io {
            call = call.store_io(switch == crate::flags::Switch::On);
        }
        let mut lifecycle = fal_client::Lifecycle::default();
        lifecycle.expires = $flags.expires;
        lifecycle.acl = $flags.acl.clone();
        call = call.lifecycle(lifecycle);
        if $flags.no_fallback {
            call = call.disable_fallback();
        }
        for (key, value) in &$flags.tags {
            call = call.tag(key, value);
        }
        call
    }};
}

pub(crate) use with_platform;

/// What the first Ctrl-C does to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnStop {
    /// The service is asked to cancel it.
    Cancel,
    /// It goes on; only the waiting ends.
    Leave,
    /// It ends with this process, in which its service runs.
    Drop,
}

pub(crate) async fn run(global: &Global, mut flags: Run, show: &mut Show) -> Result<Exit, Problem> {
    if let Some(dir) = &flags.out {
        save::prepare(dir)?;
    }
    let client = connect::client(global)?;
    let input = given::read(global, &mut flags.call.given, "run", show).await?;
    let mut signals = Signals::new()?;
    let output = if flags.direct {
        direct(&client, input, &flags, global, &mut signals, show).await?
    } else if flags.ws {
        over_socket(&client, input, &flags, global, &mut signals, show).await?
    } else {
        let job =
            queued(&client, input, &flags.call).logs(!flags.no_logs).status_stream(!flags.poll);
        let job = job.on_deadline(match flags.on_deadline {
            OnDeadline::Cancel => fal_client::OnDeadline::Cancel,
            OnDeadline::Leave => fal_client::OnDeadline::Leave,
        });
        let job = match flags.deadline {
            Some(deadline) => job.deadline(deadline),
            None => job,
        };
        show.doing("submitting");
        follow(job.start(), OnStop::Cancel, global, &mut signals, show).await?
    };
    deliver(&client, &output, flags.out.as_deref(), global, &mut signals, show).await
}

pub(crate) async fn submit(
    global: &Global,
    mut flags: Submit,
    show: &mut Show,
) -> Result<Exit, Problem> {
    let client = connect::client(global)?;
    let input = given::read(global, &mut flags.call.given, "submit", show).await?;
    let mut signals = Signals::new()?;
    // A subscription that is dropped after its first event has done nothing but submit, and until then
    // it knows how to cancel.
    let mut job = queued(&client, input, &flags.call).deadline(SUBMIT_DEADLINE).start();
    let mut stopping = false;
    show.doing("submitting");
    let accepted = loop {
        tokio::select! {
            biased;
            () = signals.next() => {
                stop(&mut job, &mut stopping, global, show)?;
            }
            event = job.next_event() => match event {
                Some(Event::Submitted(handle)) if !stopping => break Some(handle),
                Some(event) => show.event(&event),
                None => break None,
            },
        }
    };
    let handle = match accepted {
        Some(handle) => handle,
        None => {
            let output = ended(job, global).await?;
            let handle = output.handle().cloned();
            handle.ok_or_else(|| Problem::new(Exit::Other, "the job ended without a handle"))?
        }
    };
    show.event(&Event::Submitted(handle.clone()));
    let line = show.new_line("result").with("handle", &handle);
    let text = handle.to_string();
    show.answer(line, &text, &text);
    show.closing_note(&job_name::later(&handle, global));
    Ok(Exit::Ok)
}

/// Follows a job to its end and tells what happens.
pub(crate) async fn follow<O: FromOutput>(
    mut job: Subscription<O>,
    on_stop: OnStop,
    global: &Global,
    signals: &mut Signals,
    show: &mut Show,
) -> Result<O, Problem> {
    let mut stopping = false;
    loop {
        tokio::select! {
            biased;
            () = signals.next() => match on_stop {
                OnStop::Cancel => stop(&mut job, &mut stopping, global, show)?,
                OnStop::Leave => return Err(left(job.handle(), global)),
                OnStop::Drop => return Err(Problem::new(Exit::Cancelled, "stopped")),
            },
            event = job.next_event() => match event {
                Some(event) => show.event(&event),
                None => return ended(job, global).await,
            },
        }
    }
}

/// Shows the output and saves its files.
pub(crate) async fn deliver(
    client: &Client,
    output: &Output,
    out: Option<&Path>,
    global: &Global,
    signals: &mut Signals,
    show: &mut Show,
) -> Result<Exit, Problem> {
    let Some(dir) = out else {
        show.output(output, &[]);
        return Ok(Exit::Ok);
    };
    let (saved, problem) = tokio::select! {
        biased;
        () = signals.next() => (Vec::new(), Some(stopped_saving(output, global))),
        outcome = save::save(client, output, dir, global, show) => outcome,
    };
    show.output(output, &saved);
    match problem {
        Some(problem) => Err(problem),
        None => Ok(Exit::Ok),
    }
}

/// Tells of something that calls back, while it runs; Ctrl-C drops it.
pub(crate) async fn listen<T>(
    call: impl Future<Output = T>,
    mut events: mpsc::UnboundedReceiver<Event>,
    signals: &mut Signals,
    show: &mut Show,
) -> Option<T> {
    let mut call = std::pin::pin!(call);
    loop {
        tokio::select! {
            biased;
            () = signals.next() => return None,
            Some(event) = events.recv() => show.event(&event),
            result = &mut call => {
                while let Ok(event) = events.try_recv() {
                    show.event(&event);
                }
                return Some(result);
            }
        }
    }
}

/// The waiting ended, the job did not.
pub(crate) fn left(handle: Option<&Handle>, global: &Global) -> Problem {
    let problem = Problem::new(
        Exit::Cancelled,
        match handle {
            Some(_) => "stopped waiting; the job goes on",
            None => "stopped before the service had named a job",
        },
    );
    match handle {
        Some(handle) => {
            problem.with_handle(Some(handle)).with_hint(job_name::later(handle, global))
        }
        None => problem,
    }
}

/// A job of the queue as the flags describe it.
fn queued(client: &Client, input: Input, call: &Call) -> Subscribe {
    let mut job = client.subscribe(&call.given.endpoint).input(input);
    if let Some(priority) = call.priority {
        job = job.priority(match priority {
            Priority::Normal => fal_client::Priority::Normal,
            Priority::Low => fal_client::Priority::Low,
        });
    }
    if let Some(hint) = &call.hint {
        job = job.hint(hint);
    }
    if let Some(timeout) = call.start_timeout {
        job = job.start_timeout(timeout);
    }
    if let Some(url) = &call.webhook {
        job = job.webhook(url);
    }
    if let Some(retries) = retries(call) {
        job = job.platform_retries(retries);
    }
    let job = with_platform!(job, call.platform);
    call.headers.iter().fold(job, |job, (name, value)| job.header(name, value))
}

/// What the flags say about repeats of the platform's own.
fn retries(call: &Call) -> Option<PlatformRetries> {
    if call.no_retry {
        return Some(PlatformRetries::Off);
    }
    let mut budgets = RetryBudgets::default();
    for (condition, attempts) in &call.retries {
        // The flag was read so, so it is known.
        budgets.set(condition, *attempts).ok()?;
    }
    (!call.retries.is_empty()).then_some(PlatformRetries::Budgets(budgets))
}

async fn direct(
    client: &Client,
    input: Input,
    flags: &Run,
    global: &Global,
    signals: &mut Signals,
    show: &mut Show,
) -> Result<Output, Problem> {
    let call = &flags.call;
    let (on_update, events) = updates();
    let mut run = client.run(&call.given.endpoint).input(input).on_update(on_update);
    if let Some(hint) = &call.hint {
        run = run.hint(hint);
    }
    if let Some(timeout) = call.start_timeout {
        run = run.start_timeout(timeout);
    }
    if let Some(deadline) = flags.deadline {
        run = run.deadline(deadline);
    }
    run = with_platform!(run, call.platform);
    for (name, value) in &call.headers {
        run = run.header(name, value);
    }
    show.doing("running");
    connected(listen(run.into_future(), events, signals, show).await, global)
}

/// A direct run over a WebSocket, which carries the input and none of the options.
async fn over_socket(
    client: &Client,
    input: Input,
    flags: &Run,
    global: &Global,
    signals: &mut Signals,
    show: &mut Show,
) -> Result<Output, Problem> {
    let (on_update, events) = updates();
    let mut run = client.ws(&flags.call.given.endpoint).on_update(on_update);
    if let Some(deadline) = flags.deadline {
        run = run.deadline(deadline);
    }
    show.doing("running");
    connected(listen(run.run(input), events, signals, show).await, global)
}

/// What a call calls back, and where its events arrive.
fn updates() -> (impl FnMut(&Event) + Send + 'static, mpsc::UnboundedReceiver<Event>) {
    let (sender, events) = mpsc::unbounded_channel();
    let on_update = move |event: &Event| {
        // The receiver lives as long as the call.
        let _ = sender.send(event.clone());
    };
    (on_update, events)
}

/// The end of a run that lives as long as its connection; `None` if it was stopped.
fn connected(result: Option<Result<Output, Error>>, global: &Global) -> Result<Output, Problem> {
    match result {
        Some(result) => result.map_err(|error| Problem::of(error, global)),
        None => {
            Err(Problem::new(Exit::Cancelled, format!("cancelled; {}", Aftermath::Disconnected)))
        }
    }
}

/// Ctrl-C: the first asks for a cancel, the second is an error that ends the command.
fn stop<O>(
    job: &mut Subscription<O>,
    stopping: &mut bool,
    global: &Global,
    show: &mut Show,
) -> Result<(), Problem> {
    if *stopping {
        let mut problem = left(job.handle(), global);
        problem.message = "left without waiting for the cancel; the job may go on".to_owned();
        return Err(problem);
    }
    *stopping = true;
    let handle = job.handle().cloned();
    let command =
        handle.as_ref().map(|handle| job_name::command("result", handle, " --wait", global));
    show.cancelling(handle.as_ref(), command.as_deref());
    job.cancel();
    Ok(())
}

async fn ended<O: FromOutput>(job: Subscription<O>, global: &Global) -> Result<O, Problem> {
    job.await.map_err(|error: Error| Problem::of(error, global))
}

fn stopped_saving(output: &Output, global: &Global) -> Problem {
    let problem = Problem::new(Exit::Cancelled, "stopped while saving; the job is done");
    match output.handle() {
        Some(handle) => problem.with_handle(Some(handle)).with_hint(format!(
            "save it with: {}",
            job_name::command("result", handle, " --out .", global)
        )),
        None => problem.with_hint("the result is printed above, with the addresses of its files"),
    }
}

/// Uploads and the submit together. As the client's default for uploads.
const SUBMIT_DEADLINE: Duration = Duration::from_secs(6 * 3600);
