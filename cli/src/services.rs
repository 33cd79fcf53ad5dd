//! The commands on feature services. Knows nothing of views.

use tilekv_client::blocking::Client;
use tilekv_client::{Batch, Identifier, ReadOptions, SealsCounted, ViewSelector};

use crate::arguments::{Server, Service};
use crate::clock_time;
use crate::failure::CliError;
use crate::render::{self, entity_bytes};
use crate::session::connect;
use crate::table::{Align, Table};
use crate::terminal::say;
use crate::views::name;

pub(crate) fn run(server: &Server, action: Service) -> Result<(), CliError> {
    let client = connect(server, 0)?;
    match action {
        Service::Create { service, selectors } => {
            let windows = selectors.iter().map(|text| ViewSelector::parse(text.as_bytes()));
            let windows = windows.collect::<Result<Vec<_>, _>>()?;
            client.create_service(&name(&service)?, &windows)?;
            say(format_args!("created service {service}"))
        }
        Service::List => client.service_names()?.iter().try_for_each(say),
        Service::Info { service } => info(&client, &service),
        Service::Get { service, rows, at, known } => {
            let options = match at {
                Some(at) => ReadOptions::at(clock_time::parse(&at)?),
                None => ReadOptions::NOW,
            };
            let seals = if known { SealsCounted::KnownThen } else { SealsCounted::Current };
            get(&client, &service, &rows, seals, &options.with_status())
        }
        Service::Drop { service } => {
            client.drop_service(&name(&service)?)?;
            say(format_args!("dropped service {service}"))
        }
    }
}

fn info(client: &Client, service: &str) -> Result<(), CliError> {
    let info = client.service_info(&name(service)?)?;
    let mut table = Table::new(&[("", Align::Left), (service, Align::Left)]);
    let mut facts = |fact: &str, values: Vec<String>| {
        for (index, value) in values.into_iter().enumerate() {
            table.row(vec![if index == 0 { fact.to_owned() } else { String::new() }, value]);
        }
    };
    facts("selectors", info.selectors.iter().map(ToString::to_string).collect());
    facts("keys", info.keys.iter().map(ToString::to_string).collect());
    facts("views", info.views.iter().map(ToString::to_string).collect());
    say(table.render())
}

fn get(
    client: &Client,
    service: &str,
    rows: &[String],
    seals: SealsCounted,
    options: &ReadOptions,
) -> Result<(), CliError> {
    let service = name(service)?;
    let keys = client.service_info(&service)?.keys;
    let values: Vec<Vec<Vec<u8>>> =
        rows.iter().map(|row| row_values(row, &keys)).collect::<Result<_, CliError>>()?;
    let plan = client.prepare_service(&service, &keys, seals)?;
    say(to_table(rows, &plan.read(&values, options)?))
}

/// The values of a row such as `user=u:1,item=i:7`, in the order of the keys.
fn row_values(row: &str, keys: &[Identifier]) -> Result<Vec<Vec<u8>>, CliError> {
    let mut values = vec![Vec::new(); keys.len()];
    for pair in row.split(',') {
        let given = pair.split_once('=');
        let place = given.and_then(|(key, _)| keys.iter().position(|known| known.as_str() == key));
        match (given, place) {
            (Some((_, value)), Some(place)) => values[place] = entity_bytes(value),
            _ => {
                let known: Vec<&str> = keys.iter().map(Identifier::as_str).collect();
                return Err(CliError::Usage(format!(
                    "\"{pair}\": expected KEY=VALUE, with a key of {}",
                    known.join(", ")
                )));
            }
        }
    }
    Ok(values)
}

fn to_table(rows: &[String], batch: &Batch) -> String {
    let mut table = Table::new(&[
        ("row", Align::Left),
        ("window", Align::Left),
        ("value", Align::Right),
        ("status", Align::Left),
    ]);
    for (row, shown) in rows.iter().enumerate() {
        for column in batch.columns() {
            let status = column.status(row).map_or_else(String::new, |status| status.to_string());
            table.row(vec![
                shown.clone(),
                format!("{}.{}", column.view(), column.selector()),
                render::value(&column.value(row)),
                status,
            ]);
        }
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_a_row_go_to_their_keys() {
        let keys = ["user", "item"].map(|key| Identifier::parse(key.as_bytes()).unwrap());
        assert_eq!(row_values("item=i=1,user=u", &keys).unwrap(), [b"u".to_vec(), b"i=1".to_vec()]);
        assert_eq!(row_values("item=i", &keys).unwrap(), [b"".to_vec(), b"i".to_vec()]);
        for row in ["u", "day=1", ""] {
            let error = row_values(row, &keys).unwrap_err().to_string();
            assert!(error.contains("a key of user, item"), "{error}");
        }
    }
}
