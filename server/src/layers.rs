//! Collects the raw value of every setting: defaults, TOML file, environment, flags, in rising
//! order of precedence. Knows nothing of what the values mean.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches};

use crate::config::ConfigError;
use crate::settings::{self, Layer, Places, RawSettings, RawValue, SETTINGS, VARIABLE_PREFIX};

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Request {
    /// Run a server with these settings.
    Run(RawSettings),
    /// Print the effective configuration and say whether it is valid.
    Check(RawSettings),
    /// Print this text (help or version) on standard output and exit with success.
    Print(String),
}

/// Reads all layers.
///
/// `arguments` starts with the program's name; `environment` holds every variable of the process.
pub(crate) fn read(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &[(String, String)],
) -> Result<Request, ConfigError> {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => return Err(ConfigError::CommandLine(error)),
        Err(help) => return Ok(Request::Print(help.render().to_string())),
    };
    let mut raw = defaults();
    if let Some(path) = config_path(&matches, environment) {
        add_file(&mut raw, &path)?;
    }
    add_environment(&mut raw, environment)?;
    add_flags(&mut raw, &matches);
    let check = matches.get_flag(CHECK);
    Ok(if check { Request::Check(raw) } else { Request::Run(raw) })
}

/// The command line, made from the table of settings.
fn command() -> clap::Command {
    let command = clap::Command::new("tilekv-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Serves tiled rolling-window aggregates; speaks RESP and its own binary protocol.")
        .after_help("Every setting is described in docs/configuration.md.")
        .arg(
            Arg::new(CONFIG)
                .long(CONFIG)
                .value_name("FILE")
                .help("TOML file with settings [env: TILEKV_CONFIG]"),
        )
        .arg(
            Arg::new(CHECK)
                .long(CHECK)
                .action(ArgAction::SetTrue)
                .help("Print the effective configuration and exit: 0 if it is valid, else 1"),
        );
    SETTINGS.iter().filter(|setting| setting.places != Places::NotOnCommandLine).fold(
        command,
        |command, setting| {
            let argument = Arg::new(setting.name)
                .long(setting.flag_id())
                .value_name(setting.unit.replace('`', ""))
                .help(format!(
                    "{} [default: {}] [env: {}]",
                    setting.meaning,
                    setting.default,
                    setting.variable()
                ));
            command.arg(match setting.places {
                Places::Switch => argument.num_args(0..=1).default_missing_value("true"),
                Places::Everywhere | Places::NotOnCommandLine => argument,
            })
        },
    )
}

fn defaults() -> RawSettings {
    let value = |text: &str| RawValue { text: text.to_owned(), layer: Layer::Default };
    SETTINGS.iter().map(|setting| (setting.name, value(setting.default))).collect()
}

fn config_path(matches: &ArgMatches, environment: &[(String, String)]) -> Option<PathBuf> {
    let variable = || environment.iter().find(|(name, _)| name == CONFIG_VARIABLE);
    matches
        .get_one::<String>(CONFIG)
        .or_else(|| variable().map(|(_, value)| value))
        .map(PathBuf::from)
}

fn add_file(raw: &mut RawSettings, path: &PathBuf) -> Result<(), ConfigError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::ReadFile { path: shown.clone(), source })?;
    let table: toml::Table = toml::from_str(&text)
        .map_err(|source| ConfigError::ParseFile { path: shown.clone(), source })?;
    for (key, value) in table {
        let place = format!("file {shown}");
        let setting = settings::find(&key)
            .ok_or_else(|| ConfigError::UnknownSetting { name: key.clone(), place })?;
        let text = plain_text(value)
            .ok_or_else(|| ConfigError::NotPlain { name: key, path: shown.clone() })?;
        raw.insert(setting.name, RawValue { text, layer: Layer::File(shown.clone()) });
    }
    Ok(())
}

/// The text of a plain TOML value; tables, arrays and dates are not plain.
fn plain_text(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn add_environment(
    raw: &mut RawSettings,
    environment: &[(String, String)],
) -> Result<(), ConfigError> {
    for (variable, value) in environment {
        let Some(rest) = variable.strip_prefix(VARIABLE_PREFIX) else { continue };
        if variable == CONFIG_VARIABLE {
            continue;
        }
        let name = rest.to_ascii_lowercase();
        let setting = settings::find(&name).ok_or_else(|| ConfigError::UnknownSetting {
            name: variable.clone(),
            place: "environment".to_owned(),
        })?;
        let layer = Layer::Environment(variable.clone());
        raw.insert(setting.name, RawValue { text: value.clone(), layer });
    }
    Ok(())
}

fn add_flags(raw: &mut RawSettings, matches: &ArgMatches) {
    for setting in SETTINGS.iter().filter(|setting| setting.places != Places::NotOnCommandLine) {
        if let Some(text) = matches.get_one::<String>(setting.name) {
            let layer = Layer::Flag(setting.flag());
            raw.insert(setting.name, RawValue { text: text.clone(), layer });
        }
    }
}

const CONFIG: &str = "config";
const CHECK: &str = "check-config";
const CONFIG_VARIABLE: &str = "TILEKV_CONFIG";

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Result<RawSettings, ConfigError> {
        let program = std::iter::once("tilekv-server");
        let arguments = program.chain(arguments.iter().copied()).map(OsString::from);
        let environment: Vec<(String, String)> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        match read(arguments, &environment)? {
            Request::Run(raw) | Request::Check(raw) => Ok(raw),
            Request::Print(text) => panic!("printed {text}"),
        }
    }

    fn write(text: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tilekv.toml");
        std::fs::write(&path, text).unwrap();
        let shown = path.display().to_string();
        (folder, shown)
    }

    #[test]
    fn later_layers_win() {
        let (_folder, path) = write("port = 1\nhttp_port = 2\nthreads = 3\n");
        let environment = [("TILEKV_PORT", "10"), ("TILEKV_THREADS", "30")];
        let raw = run(&["--config", &path, "--port", "100"], &environment).unwrap();
        assert_eq!(raw["port"].text, "100");
        assert_eq!(raw["port"].layer, Layer::Flag("--port".to_owned()));
        assert_eq!(raw["threads"].text, "30");
        assert_eq!(raw["threads"].layer, Layer::Environment("TILEKV_THREADS".to_owned()));
        assert_eq!(raw["http_port"].text, "2");
        assert_eq!(raw["http_port"].layer, Layer::File(path));
        assert_eq!(raw["bind"].layer, Layer::Default);
    }

    #[test]
    fn the_environment_may_name_the_file() {
        let (_folder, path) = write("durability = \"none\"\n");
        let raw = run(&[], &[("TILEKV_CONFIG", &path)]).unwrap();
        assert_eq!(raw["durability"].text, "none");
    }

    #[test]
    fn unknown_names_are_refused_by_name() {
        let (_folder, path) = write("prot = 1\n");
        let file = run(&["--config", &path], &[]).unwrap_err().to_string();
        assert!(file.contains("`prot`") && file.contains(&path), "{file}");
        let variable = run(&[], &[("TILEKV_PROT", "1")]).unwrap_err().to_string();
        assert!(variable.contains("TILEKV_PROT"), "{variable}");
        let flag = run(&["--prot", "1"], &[]).unwrap_err().to_string();
        assert!(flag.contains("--prot"), "{flag}");
    }

    #[test]
    fn tables_and_arrays_are_refused() {
        let (_folder, path) = write("[port]\nnumber = 1\n");
        let error = run(&["--config", &path], &[]).unwrap_err().to_string();
        assert!(error.contains("`port`"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = run(&["--config", "/no/such/file.toml"], &[]).unwrap_err().to_string();
        assert!(error.contains("/no/such/file.toml"), "{error}");
    }

    #[test]
    fn a_switch_needs_no_value_and_takes_one() {
        assert_eq!(run(&["--allow-unauthenticated"], &[]).unwrap()[SWITCH].text, "true");
        let off = run(&["--allow-unauthenticated", "false"], &[]).unwrap();
        assert_eq!(off[SWITCH].text, "false");
    }

    #[test]
    fn a_password_is_no_flag() {
        let error = run(&["--auth-password", "x"], &[]).unwrap_err().to_string();
        assert!(error.contains("--auth-password"), "{error}");
        let raw = run(&[], &[("TILEKV_AUTH_PASSWORD", "x")]).unwrap();
        assert_eq!(raw["auth_password"].text, "x");
    }

    #[test]
    fn help_shows_every_flag() {
        let arguments = ["tilekv-server", "--help"].map(OsString::from);
        let Request::Print(help) = read(arguments, &[]).unwrap() else { panic!("no help") };
        for setting in SETTINGS.iter().filter(|setting| !setting.is_secret()) {
            assert!(help.contains(&setting.flag()), "{} is missing", setting.flag());
        }
    }

    const SWITCH: &str = "allow_unauthenticated";
}
