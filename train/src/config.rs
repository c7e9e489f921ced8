//! A run's own `run.toml` as a file for `--config`.

use toml::{Table, Value};

/// What a file of `--config` says, by the names of flags: as it stands, or, of a file that `pdloss train` wrote, the settings
/// of that run.
pub fn flags_of(mut file: Table) -> Table {
    let Some(Value::Table(settings)) = file.remove("settings") else { return file };
    let mut flags = Table::new();
    for (key, value) in settings {
        match (key.as_str(), value) {
            ("data", Value::Table(data)) => {
                flags.extend(
                    data.into_iter().map(|(key, value)| (if key == "path" { "data".to_owned() } else { key }, value)),
                );
            }
            ("validation", Value::Table(validation)) => flags.extend(of_validation(validation)),
            // All of it is here, so nothing is to be assumed.
            ("preprocessing", Value::Table(recipe)) => {
                flags.insert("preset".to_owned(), "none".into());
                flags.extend(
                    recipe
                        .into_iter()
                        .map(|(key, value)| (if key == "color" { "channels".to_owned() } else { key }, value)),
                );
            }
            (_, Value::Table(inner)) => flags.extend(inner),
            // Follows from the flags.
            ("leave_out", _) => {}
            (_, value) => drop(flags.insert(key, value)),
        }
    }
    // A run writes down every setting of the loss, also those that change nothing, which no flag may be.
    let is = |key: &str, value: &str| flags.get(key).and_then(Value::as_str) == Some(value);
    let idle: &[&str] = match (is("form", "negative"), is("floor_mode", "clamp")) {
        (true, _) => &["floor", "floor_mode", "eps"],
        (false, true) => &["floor"],
        (false, false) => &["eps"],
    };
    idle.iter().for_each(|key| drop(flags.remove(*key)));
    // What it is anyway, also of a loss without proxies, which takes no such flag.
    if flags.get("proxies_rate").and_then(Value::as_float) == Some(1.0) {
        flags.remove("proxies_rate");
    }
    if flags.get("centers").and_then(Value::as_integer) == Some(1) {
        ["gamma", "penalty"].iter().for_each(|key| drop(flags.remove(*key)));
    }
    // Validation on a part of the data itself.
    if flags.get("validation") == flags.get("data") {
        flags.remove("validation");
    }
    flags
}

fn of_validation(validation: Table) -> Table {
    let mut flags = Table::new();
    for (key, value) in validation {
        match (key.as_str(), value) {
            ("every", value) => drop(flags.insert("validate_every".to_owned(), value)),
            ("data", Value::Table(data)) => {
                let flag = |key: &str| {
                    Some(match key {
                        "path" => "validation",
                        "split" => "validation_split",
                        "classes" => "validation_classes",
                        // As those of the data that is trained on.
                        _ => return None,
                    })
                };
                flags.extend(data.into_iter().filter_map(|(key, value)| Some((flag(&key)?.to_owned(), value))));
            }
            (_, value) => drop(flags.insert(key, value)),
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_flags_is_left_as_it_is() {
        let flags: Table = toml::from_str("batch = 3\nk = [1, 2]").unwrap();
        assert_eq!(flags_of(flags.clone()), flags);
    }
}
