//! A kind of item: its name, who may write it, and the schema that follows from the struct that reads it.
//!
//! ```text
//!  struct RawMessage (doc comments, serde) --JsonSchema--> ItemKind::schema
//!        ItemKind::schema --> the schema of a file, the reference of keys, skeletons of proposals
//! ```

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

/// Which files may hold an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Within {
    /// Every file.
    Any,
    /// Proposals alone.
    Proposals,
    /// What is built in alone.
    BuiltIn,
}

/// A kind of item.
#[derive(Clone, Copy, Debug)]
pub struct ItemKind {
    /// Its name: an item begins with `[[NAME]]`.
    pub name: &'static str,
    /// Which files may hold it.
    pub within: Within,
    schemas: &'static [fn() -> Schema],
}

/// The schema of a type, with everything that it refers to in its place.
fn schema_of<T: JsonSchema>() -> Schema {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>()
}

/// The functions that make the schema of one struct, or of two whose keys one item has.
struct Of<A, B>(std::marker::PhantomData<(A, B)>);

impl<A: JsonSchema, B: JsonSchema> Of<A, B> {
    const ONE: &'static [fn() -> Schema] = &[schema_of::<A>];
    const BOTH: &'static [fn() -> Schema] = &[schema_of::<A>, schema_of::<B>];
}

impl ItemKind {
    /// A kind of item that is read into this struct.
    #[must_use]
    pub const fn of<T: JsonSchema>(name: &'static str) -> Self {
        ItemKind { name, within: Within::Any, schemas: Of::<T, T>::ONE }
    }

    /// A kind of item that is read in two parts: keys that all items of this name have, and others.
    #[must_use]
    pub const fn in_parts<C: JsonSchema, O: JsonSchema>(name: &'static str) -> Self {
        ItemKind { name, within: Within::Any, schemas: Of::<C, O>::BOTH }
    }

    /// The same, in these files alone.
    #[must_use]
    pub const fn within(self, within: Within) -> Self {
        ItemKind { within, ..self }
    }

    /// The schema of the keys that not all items of this name have.
    #[must_use]
    pub fn own_schema(&self) -> Value {
        self.schemas.last().map(|schema| plain(*schema)).unwrap_or_default()
    }

    /// The schema of one item. Its description is that of the last part.
    #[must_use]
    pub fn schema(&self) -> Value {
        let mut parts = self.schemas.iter().map(|schema| plain(*schema));
        let mut whole = parts.next().unwrap_or_default();
        for part in parts {
            let Value::Object(part) = part else { continue };
            for (key, value) in part {
                match (&mut whole[&key], value) {
                    (Value::Object(known), Value::Object(more)) => known.extend(more),
                    (Value::Array(known), Value::Array(more)) => known.extend(more),
                    (known, value) => *known = value,
                }
            }
        }
        whole
    }
}

/// A schema as a part of another.
fn plain(schema: fn() -> Schema) -> Value {
    let mut value = schema().to_value();
    without_null(&mut value);
    if let Value::Object(value) = &mut value {
        value.remove("$schema");
        value.remove("title");
    }
    value
}

/// Takes `null` out of a schema: TOML has none, a key without a value is left out.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(without_null);
            if let Some(Value::Array(words)) = map.get_mut("enum") {
                words.retain(|word| !word.is_null());
            }
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|of| of != "null");
                if let [only] = &types[..] {
                    let only = only.clone();
                    map.insert("type".to_owned(), only);
                }
            }
            let is_null = |of: &Value| of["type"] == "null";
            if let Some(Value::Array(any)) = map.get_mut("anyOf")
                && any.iter().any(is_null)
            {
                any.retain(|of| !is_null(of));
                if let [Value::Object(only)] = &any[..] {
                    let only = only.clone();
                    map.remove("anyOf");
                    for (key, value) in only {
                        map.entry(key).or_insert(value);
                    }
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(without_null),
        _ => {}
    }
}
