//! `demo`: a whole run, shown step by step, against a mock inside this process.

mod model;

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::time::Instant;

use fal_client::media::Image;
use fal_client::typed::Endpoint as _;
use fal_client::{Client, FileInput, Input, Output};
use fal_mock::MockFal;
use serde_json::json;

use self::model::ControlnetIpAdapter;

use crate::connect;
use crate::exit::Exit;
use crate::flags::{Demo, Global};
use crate::job_name;
use crate::problem::Problem;
use crate::run::{OnStop, follow};
use crate::save;
use crate::show::Show;
use crate::signals::Signals;

pub(crate) async fn demo(global: &Global, flags: Demo, show: &mut Show) -> Result<Exit, Problem> {
    show.tell_all();
    save::prepare(&flags.out)?;
    let began = Instant::now();
    let endpoint = flags.endpoint.as_deref().unwrap_or(ControlnetIpAdapter::ID);
    // The mock stops when it is dropped, at the end of the run.
    let (client, _mock) = if flags.live {
        let client = connect::client(global)?;
        agree(endpoint, flags.yes)?;
        (client, None)
    } else {
        let mock = MockFal::builder().start().await;
        let mock = mock.map_err(|error| {
            Problem::new(Exit::Other, format!("cannot start the mock on this machine: {error}"))
        })?;
        show.note(&format!("a mock of fal.ai runs inside this process, at {}", mock.url()));
        // The environment may name a key and proxies, which are of no use here.
        let client = Client::builder().base_url(mock.url()).key(MOCK_KEY).build();
        (client.map_err(|error| Problem::of(error, global))?, Some(mock))
    };
    let mut signals = Signals::new()?;
    show.note(&format!("running {endpoint}: {PROMPT:?}"));
    show.doing("uploading");
    let on_stop = if flags.live { OnStop::Cancel } else { OnStop::Drop };
    let (image, output) = if endpoint == ControlnetIpAdapter::ID {
        let job = client.subscribe(input()).start();
        let made = follow(job, on_stop, global, &mut signals, show).await?;
        let (made, output) = made.into_parts();
        (made.images.into_iter().next(), output)
    } else {
        // The fields of other models are not known here, but for the one that nearly all have.
        let job = client.subscribe(endpoint).input(json!({ "prompt": PROMPT })).start();
        (None, follow(job, on_stop, global, &mut signals, show).await?)
    };
    let saved = picture(&client, &output, &flags, global, show).await;
    let saved = match saved {
        Ok(saved) => saved,
        Err(problem) => {
            show.output(&output, &[]);
            return Err(problem.with_handle(output.handle()));
        }
    };
    save::tell(&saved, show);
    let size = |image: Image| Some(format!(", {} x {} pixels", image.width?, image.height?));
    let size = image.and_then(size);
    let units = output.billable_units();
    let facts = format!(
        "\n  picture       {} ({}{})\n  request id    {}\n  billed units  {}\n  whole run     {:.2} s",
        saved.path.display(),
        save::size(saved.bytes),
        size.unwrap_or_default(),
        output.request_id().unwrap_or("not told"),
        units.map_or_else(|| "not told".to_owned(), |units| units.to_string()),
        began.elapsed().as_secs_f64(),
    );
    show.demo_output(&output, &saved, &facts);
    show.closing_note(if flags.live { NEXT_LIVE } else { NEXT });
    Ok(Exit::Ok)
}

/// The model's input, whose three files are uploaded before the submit.
fn input() -> ControlnetIpAdapter {
    let file = |bytes: &'static [u8], content_type: &str, name: &str| -> FileInput {
        Input::bytes(bytes, content_type).named(name)
    };
    ControlnetIpAdapter::new(
        PROMPT,
        file(PORTRAIT, "image/png", "portrait.png"),
        file(POSE, "image/png", "pose.png"),
        file(STYLES, "application/zip", "styles.zip"),
    )
}

async fn picture(
    client: &Client,
    output: &Output,
    flags: &Demo,
    global: &Global,
    show: &mut Show,
) -> Result<save::Saved, Problem> {
    let files = output.files();
    let Some(file) = files.first() else {
        return Err(Problem::new(Exit::Failed, "the model answered without a file"));
    };
    let local = file.local_name();
    let ending = local.rsplit_once('.').map_or("png", |(_, ending)| ending);
    let is_plain = |c: &char| c.is_ascii_alphanumeric();
    let id: String =
        output.request_id().unwrap_or("run").chars().filter(is_plain).take(8).collect();
    let name = format!("fal-demo-{id}.{ending}");
    save::fetch(client, file, &flags.out, &name, global, show).await
}

/// A live run costs money, so somebody must have said yes.
fn agree(endpoint: &str, is_agreed: bool) -> Result<(), Problem> {
    if is_agreed {
        return Ok(());
    }
    let shown = job_name::shown(endpoint);
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Problem::usage(format!("running {shown} costs money: agree with --yes")));
    }
    let mut stderr = io::stderr().lock();
    // If the question cannot be shown, the answer is not yes either.
    let _ = write!(stderr, "Running {shown} at fal.ai costs money. Go on? [y/N] ");
    let _ = stderr.flush();
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| Problem::file("stdin", &error))?;
    match matches!(answer.trim(), "y" | "Y" | "yes") {
        true => Ok(()),
        false => Err(Problem::new(Exit::Cancelled, "nothing was sent")),
    }
}

const PROMPT: &str = "portrait of a lighthouse keeper at dusk, oil on canvas";
/// The mock takes any key of this form.
const MOCK_KEY: &str = "demo:demo";

const PORTRAIT: &[u8] = include_bytes!("../assets/portrait.png");
const POSE: &[u8] = include_bytes!("../assets/pose.png");
const STYLES: &[u8] = include_bytes!("../assets/styles.zip");

const NEXT: &str = "
Next:
  keep a mock running    cargo run -p fal-mock
                         FAL_KEY=any:key fal-cli run fal-ai/flux/dev prompt='a cat' --out . \\
                           --base-url http://127.0.0.1:8787
  use the real service   FAL_KEY=id:secret fal-cli run fal-ai/flux/dev prompt='a cat' --out .";

const NEXT_LIVE: &str = "
Next:
  run any model          fal-cli run fal-ai/flux/dev prompt='a cat' --out .
  learn the rest         fal-cli run --help";
