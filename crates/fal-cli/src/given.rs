//! An input from the command line: read, typed and checked by the model's document.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::CommandFactory as _;
use fal_client::model::Documents;
use fal_client::{Error, Event, Input, Model};

use crate::command_line::{Token, own_flags};
use crate::connect;
use crate::flags::{Flags, Given, Global};
use crate::input;
use crate::problem::Problem;
use crate::show::Show;
use crate::typed;

/// The input of a call of this command. Every file that it names can be read, and the model would take it.
///
/// Without a document it is taken as it is, which is told.
pub(crate) async fn read(
    global: &Global,
    given: &mut Given,
    command: &str,
    show: &mut Show,
) -> Result<Input, Problem> {
    let has_flags = given.rest.iter().any(|token| matches!(token, Token::Flag { .. }));
    let own = own_names(command);
    // What can be read without a document is, before the network is asked.
    let mut rest = std::mem::take(&mut given.rest);
    let mut ready = None;
    if !has_flags {
        let fields = typed::read(std::mem::take(&mut rest), None, false, &own)?;
        ready = Some(input::read(given.input.as_deref(), fields)?);
    }
    let model = if given.no_check && !has_flags {
        None
    } else {
        show.doing("asking for the model's document");
        look_up(global, given, show).await?
    };
    let input = match ready {
        Some(input) => input,
        None => {
            let schema = model.as_ref().map(|model| model.schema().input());
            let fields = typed::read(rest, schema, !given.no_check, &own).map_err(|problem| {
                let help = format!("fal-cli {command} {} --help lists the inputs", given.endpoint);
                if model.is_some() { problem.with_hint(help) } else { problem }
            })?;
            input::read(given.input.as_deref(), fields)?
        }
    };
    let Some(model) = model.filter(|_| !given.no_check) else { return Ok(input) };
    match model.check(&input) {
        Ok(review) => {
            for finding in review.warnings {
                show.event(&Event::InputWarning(finding));
            }
            Ok(input)
        }
        Err(error) => {
            let problem = Problem::of(error, global);
            let help = format!("fal-cli {command} {} --help lists what is allowed", given.endpoint);
            Err(problem
                .with_hint(help)
                .with_hint("nothing was sent; --no-check sends it all the same"))
        }
    }
}

/// The model, if there is a document of it. That there is none is told, and an error if it was to be in a file.
async fn look_up(
    global: &Global,
    given: &Given,
    show: &mut Show,
) -> Result<Option<Model>, Problem> {
    match find(global, given).await {
        Ok(model) => Ok(Some(model)),
        Err(error) if given.schema.is_some() => Err(Problem::of(error, global)),
        Err(error) => {
            let line = show.new_line("unchecked").with("reason", &error.to_string());
            show.line(line);
            show.note(&format!("the input is sent as it is, unchecked: {error}"));
            Ok(None)
        }
    }
}

/// The model that the command line names, from where it says.
pub(crate) async fn find(global: &Global, given: &Given) -> Result<Model, Error> {
    let client = connect::reader(global, given.schema.as_ref().map(Documents::at))?;
    client.model(&given.endpoint).deadline(LOOK_UP_TIME_MAX).await
}

/// The long flags of a command of this program.
pub(crate) fn own_names(command: &str) -> Vec<String> {
    let flags = Flags::command();
    let found = flags.find_subcommand(command).into_iter().chain([&flags]);
    let names: BTreeSet<String> = found.flat_map(own_flags).map(|(name, _)| name).collect();
    names.into_iter().collect()
}

/// How long a document is waited for, before an input goes out unchecked.
const LOOK_UP_TIME_MAX: Duration = Duration::from_secs(10);
