//! `models`, `pricing` and `queue`: what there is, what it costs, and how long the line is.

use fal_client::EndpointId;
use fal_client::platform::{Estimate, Model, Price};
use serde_json::{Value, json};

use crate::connect;
use crate::exit::Exit;
use crate::flags::{Global, Models, Pricing, Queue};
use crate::problem::Problem;
use crate::show::Show;
use crate::table::Table;

pub(crate) async fn models(
    global: &Global,
    flags: Models,
    show: &mut Show,
) -> Result<Exit, Problem> {
    let client = connect::open_client(global)?;
    let mut models = client.platform().models();
    if !flags.words.is_empty() {
        models = models.search(flags.words.join(" "));
    }
    if let Some(category) = flags.category {
        models = models.category(category);
    }
    if let Some(status) = flags.status {
        models = models.status(status.as_str());
    }
    if let Ok(limit) = u32::try_from(flags.limit)
        && limit < PAGE_MAX
    {
        models = models.page_size(limit);
    }
    show.doing("asking for models");
    let mut found = Vec::new();
    let mut list = models.list();
    while found.len() < flags.limit
        && let Some(model) = list.next().await
    {
        found.push(model.map_err(|error| Problem::of(error, global))?);
    }
    tell_models(&found, flags.limit, show);
    Ok(Exit::Ok)
}

fn tell_models(models: &[Model], limit: usize, show: &mut Show) {
    let mut table = Table::default();
    let mut ids = Vec::new();
    let mut entries = Vec::new();
    for model in models {
        let of = |field: fn(&fal_client::platform::Metadata) -> &Option<Box<str>>| {
            model.metadata.as_ref().and_then(|metadata| field(metadata).as_deref())
        };
        let name = of(|metadata| &metadata.display_name).unwrap_or_default();
        let is_old = of(|metadata| &metadata.status) == Some("deprecated");
        let name = if is_old { format!("{name} (deprecated)") } else { name.to_owned() };
        let category = of(|metadata| &metadata.category);
        table.row([&*model.endpoint_id, category.unwrap_or("-"), &name]);
        ids.push(&*model.endpoint_id);
        entries.push(json!({
            "endpoint_id": model.endpoint_id,
            "display_name": of(|metadata| &metadata.display_name),
            "category": category,
            "status": of(|metadata| &metadata.status),
            "description": of(|metadata| &metadata.description),
            "stream_url": of(|metadata| &metadata.stream_url),
            "updated_at": of(|metadata| &metadata.updated_at),
        }));
    }
    let line = show.new_line("result").with("models", &entries);
    let text = if models.is_empty() { "no model was found".to_owned() } else { table.to_string() };
    show.answer(line, &text, &ids.join("\n"));
    if models.len() == limit {
        show.closing_note(&format!("the first {limit}: --limit shows more"));
    }
}

pub(crate) async fn pricing(
    global: &Global,
    flags: Pricing,
    show: &mut Show,
) -> Result<Exit, Problem> {
    let client = connect::quick_client(global)?;
    let platform = client.platform();
    let ids = flags.endpoints.iter().map(|id| EndpointId::parse(id)).collect::<Result<Vec<_>, _>>();
    let ids = ids.map_err(|error| Problem::usage(error.to_string()))?;
    show.doing("asking for prices");
    let wrong = |error| Problem::of(error, global);
    let prices = platform.prices(&flags.endpoints).await.map_err(wrong)?;
    let estimate = match (flags.calls, flags.units) {
        (Some(calls), _) => Some(Estimate::Calls(ids.into_iter().map(|id| (id, calls)).collect())),
        (None, Some(units)) => {
            Some(Estimate::Units(ids.into_iter().map(|id| (id, units)).collect()))
        }
        (None, None) => None,
    };
    let cost = match &estimate {
        Some(estimate) => Some(platform.estimate(estimate).await.map_err(wrong)?),
        None => None,
    };
    let mut table = Table::default();
    for price in &prices {
        let unit = price.unit.trim();
        let unit = if unit.is_empty() { "unit".to_owned() } else { unit.to_owned() };
        let amount = format!("{} {}", price.unit_price, price.currency);
        table.row([&*price.endpoint_id, &amount, &format!("per {unit}")]);
    }
    let mut text = table.to_string();
    let entries: Vec<Value> = prices.iter().map(price_json).collect();
    let mut line = show.new_line("result").with("prices", &entries);
    if let Some(cost) = &cost {
        let what = match flags.calls {
            Some(calls) => format!("{calls} calls of each, at what they have cost this account"),
            None => format!("{} units of each", flags.units.unwrap_or_default()),
        };
        text.push_str(&format!("\n{what}: {} {}", cost.total_cost, cost.currency));
        let cost = json!({ "total_cost": cost.total_cost, "currency": cost.currency });
        line = line.with("estimate", &cost);
    }
    let result = text.clone();
    show.answer(line, &text, &result);
    let missing: Vec<&str> = flags
        .endpoints
        .iter()
        .map(String::as_str)
        .filter(|id| !prices.iter().any(|price| *price.endpoint_id == **id))
        .collect();
    if !missing.is_empty() {
        show.closing_note(&format!("no price is known of {}", missing.join(", ")));
    }
    Ok(Exit::Ok)
}

fn price_json(price: &Price) -> Value {
    json!({
        "endpoint_id": price.endpoint_id,
        "unit_price": price.unit_price,
        "unit": price.unit,
        "currency": price.currency,
    })
}

pub(crate) async fn queue(global: &Global, flags: Queue, show: &mut Show) -> Result<Exit, Problem> {
    let client = connect::quick_client(global)?;
    let size = client.platform().queue_size(&flags.app).await;
    let size = size.map_err(|error| {
        let is_unknown = error.status().is_some_and(|status| status == 404);
        let problem = Problem::of(error, global);
        match is_unknown {
            true => problem.with_hint("only apps of your own have a queue that is told"),
            false => problem,
        }
    })?;
    let line = show.new_line("result").with("app", &flags.app).with("queue_size", &size);
    show.answer(line, &format!("{size} requests wait for {}", flags.app), &size.to_string());
    Ok(Exit::Ok)
}

/// Below it the number of models wanted is also the size of a page; the service refuses long ones.
const PAGE_MAX: u32 = 100;
