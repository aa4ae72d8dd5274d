//! What is asked for, on a command line and in JSON.
//!
//! **Invariant.** A name and a value stand in both as they are, also such as no model accepts.

use devmig_model::device_model::{Configuration, ModelId, Name, Type, Value};

/// A value, as it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// On a command line; none if it would be another value there.
    pub text: Option<String>,
    /// In JSON.
    pub json: String,
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Asked {
    /// The model.
    pub model: String,
    /// A version of it.
    pub version: Option<String>,
    /// Parameters and their values, in this order, perhaps one twice.
    pub given: Vec<(String, Written)>,
}

impl From<&Value> for Written {
    fn from(value: &Value) -> Self {
        let json = match value {
            Value::Bool(on) => on.to_string(),
            Value::Int(n) => n.to_string(),
            Value::Str(text) => serde_json::Value::from(&**text).to_string(),
        };
        Written { text: Some(value.to_string()), json }
    }
}

impl Written {
    /// Text for a command line, and the same as a string of JSON.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Written { text: Some(text.to_owned()), json: serde_json::Value::from(text).to_string() }
    }

    /// What only JSON can say.
    #[must_use]
    pub fn json(json: &str) -> Self {
        Written { text: None, json: json.to_owned() }
    }

    /// Values that are none of this type.
    #[must_use]
    pub fn not_of(kind: Type) -> Vec<Written> {
        match kind {
            Type::Bool => vec![Self::text("2"), Self::text("maybe"), Self::json("7")],
            Type::Int => vec![
                Self::text("many"),
                Self { text: Some("-1".into()), json: "-1".into() },
                Self { text: Some("1.5".into()), json: "1.5".into() },
                // One more than fits: in 64 bits it would be 0.
                Self {
                    text: Some("18446744073709551616".into()),
                    json: "18446744073709551616".into(),
                },
                Self::json("true"),
            ],
            // On a command line everything is a string.
            Type::Str => vec![Self::json("7"), Self::json("true")],
        }
    }
}

impl Asked {
    /// Nothing but the model.
    #[must_use]
    pub fn of(model: &ModelId) -> Self {
        Asked { model: model.to_string(), ..Asked::default() }
    }

    /// With this value besides.
    #[must_use]
    pub fn with(mut self, name: &Name, value: impl Into<Written>) -> Self {
        self.given.push((name.to_string(), value.into()));
        self
    }

    /// A configuration, with every parameter named.
    #[must_use]
    pub fn all(configuration: &Configuration) -> Self {
        let parameters = configuration.parameters().iter();
        parameters
            .fold(Self::of(configuration.model()), |asked, (name, value)| asked.with(name, value))
    }

    /// Whether a command line can ask for it.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.given.iter().all(|(_, value)| value.text.is_some())
    }

    /// The words that ask for it, by the third version of the RFC.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        let mut words = vec!["--model".to_owned(), self.model.clone()];
        if let Some(version) = &self.version {
            words.extend(["--model-version".to_owned(), version.clone()]);
        }
        let option = |(name, value): &(String, Written)| {
            value.text.as_ref().map(|text| format!("--m-{name}={text}"))
        };
        words.extend(self.given.iter().filter_map(option));
        words
    }

    /// The members of `device-add` that ask for it, without what is around them.
    #[must_use]
    pub fn members(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut members = format!("\"model\":{}", quoted(&self.model));
        if let Some(version) = &self.version {
            members += &format!(",\"version\":{}", quoted(version));
        }
        members + &format!(",\"parameters\":{}", self.parameters())
    }

    /// Its parameters as an object of JSON: a key may be there twice.
    #[must_use]
    pub fn parameters(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let one = |(name, value): &(String, Written)| format!("{}:{}", quoted(name), value.json);
        format!("{{{}}}", self.given.iter().map(one).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_in_both_ways() {
        let id: ModelId = "vendor-a.com/my-nic".parse().unwrap();
        let name = |text: &str| text.parse::<Name>().unwrap();
        let mut asked = Asked::of(&id).with(&name("rss"), &Value::Bool(true));
        asked = asked
            .with(&name("mac"), &Value::Str("a\"b".into()))
            .with(&name("rss"), Written::text("2"));
        asked.version = Some("1".into());
        assert!(asked.is_text());
        let words = ["--model", "vendor-a.com/my-nic", "--model-version", "1"];
        assert_eq!(asked.options()[..4], words.map(str::to_owned));
        assert_eq!(
            asked.options()[4..],
            ["--m-rss=on", "--m-mac=a\"b", "--m-rss=2"].map(str::to_owned)
        );
        let json = r#""model":"vendor-a.com/my-nic","version":"1","parameters":{"rss":true,"mac":"a\"b","rss":"2"}"#;
        assert_eq!(asked.members(), json);
        assert!(!Asked::of(&id).with(&name("rss"), Written::json("7")).is_text());
    }

    #[test]
    fn what_is_of_no_type_is_not_read_as_one() {
        for kind in [Type::Bool, Type::Int] {
            for written in Written::not_of(kind) {
                let read = written.text.map(|text| kind.read(&text));
                assert!(read.is_none_or(|read| read.is_err()));
                let json = serde_json::from_str::<Value>(&written.json);
                assert!(json.is_err() || json.unwrap().kind() != kind, "{}", written.json);
            }
        }
    }
}
