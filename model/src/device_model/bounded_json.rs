//! Lists and objects of JSON that hold only so many items, and each key once.
//!
//! `serde` keeps the last of two equal keys, silently: two readers of one description would then see two
//! devices. What is over a limit ends the reading there, before more memory is taken.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

/// An object of at most `MAX` members, each there once.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(transparent)]
pub struct Object<K: Ord, V, const MAX: usize>(pub BTreeMap<K, V>);

impl<K: Ord, V, const MAX: usize> Default for Object<K, V, MAX> {
    fn default() -> Self {
        Object(BTreeMap::new())
    }
}

impl<K: Ord, V, const MAX: usize> Object<K, V, MAX> {
    /// Whether it has no member.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

struct Members<K, V, const MAX: usize>(PhantomData<(K, V)>);

impl<'de, K, V, const MAX: usize> de::Visitor<'de> for Members<K, V, MAX>
where
    K: Deserialize<'de> + Ord + fmt::Display,
    V: Deserialize<'de>,
{
    type Value = BTreeMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut all = BTreeMap::new();
        while let Some(key) = map.next_key::<K>()? {
            if all.contains_key(&key) {
                let key = key.to_string();
                let message = format!("the key `{}` is defined twice", key.escape_debug());
                return Err(de::Error::custom(message));
            }
            if all.len() == MAX {
                return Err(de::Error::custom(format!("there are more than {MAX} members")));
            }
            all.insert(key, map.next_value()?);
        }
        Ok(all)
    }
}

impl<'de, K, V, const MAX: usize> Deserialize<'de> for Object<K, V, MAX>
where
    K: Deserialize<'de> + Ord + fmt::Display,
    V: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members::<K, V, MAX>(PhantomData)).map(Object)
    }
}

impl<K: Ord, V: JsonSchema, const MAX: usize> JsonSchema for Object<K, V, MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("ObjectOf{}", V::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let member = generator.subschema_for::<V>();
        json_schema!({
            "type": "object",
            "maxProperties": MAX,
            "additionalProperties": member,
        })
    }
}

/// A list of at most `MAX` items.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(transparent)]
pub struct List<T, const MAX: usize>(pub Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        List(Vec::new())
    }
}

impl<T, const MAX: usize> List<T, MAX> {
    /// Whether it has no item.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

struct Items<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> de::Visitor<'de> for Items<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = list.next_element()? {
            if all.len() == MAX {
                return Err(de::Error::custom(format!("there are more than {MAX} items")));
            }
            all.push(item);
        }
        Ok(all)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Items::<T, MAX>(PhantomData)).map(List)
    }
}

impl<T: JsonSchema, const MAX: usize> JsonSchema for List<T, MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("ListOf{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<T>();
        json_schema!({ "type": "array", "maxItems": MAX, "items": item })
    }
}

/// One, or a list of at most `MAX`. What is wrong in it is told as if it stood alone.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMore<T, const MAX: usize> {
    /// One.
    One(T),
    /// A list.
    More(List<T, MAX>),
}

impl<T, const MAX: usize> OneOrMore<T, MAX> {
    /// All of them.
    pub fn into_vec(self) -> Vec<T> {
        match self {
            OneOrMore::One(one) => vec![one],
            OneOrMore::More(list) => list.0,
        }
    }
}

struct Either<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> de::Visitor<'de> for Either<T, MAX> {
    type Value = OneOrMore<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one, or a list")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        Items::<T, MAX>(PhantomData).visit_seq(list).map(List).map(OneOrMore::More)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(de::value::MapAccessDeserializer::new(map)).map(OneOrMore::One)
    }

    fn visit_bool<E: de::Error>(self, on: bool) -> Result<Self::Value, E> {
        T::deserialize(de::value::BoolDeserializer::new(on)).map(OneOrMore::One)
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<Self::Value, E> {
        T::deserialize(de::value::U64Deserializer::new(n)).map(OneOrMore::One)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        T::deserialize(de::value::StrDeserializer::new(text)).map(OneOrMore::One)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for OneOrMore<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either::<T, MAX>(PhantomData))
    }
}
