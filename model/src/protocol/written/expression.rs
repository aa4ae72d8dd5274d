//! The expressions of a `[[property]]`: `expression.pest` is their grammar.
//!
//! ```text
//!  "after vhost-user.suspended or event like \"RESUME*\""  --parse-->  Or[Path, Compare(Event, Like, Text)]
//! ```

use std::fmt;

use pest::Parser;
use pest::iterators::Pair;

#[allow(missing_docs)]
mod grammar {
    /// The parser that follows from the grammar.
    #[derive(pest_derive::Parser)]
    #[grammar = "src/protocol/written/expression.pest"]
    pub(super) struct Grammar;
}

use grammar::{Grammar, Rule};

/// The longest expression, in bytes: it is read by recursion.
pub const LONGEST: usize = 2_000;
/// How deep parentheses and quantifiers may stand in one another.
const DEEPEST: usize = 32;

/// A field of a state, as traces name it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Path {
    /// Of the state after the step, and not of that before it.
    pub after: bool,
    /// Its names, from the participant's on.
    pub segments: Vec<Segment>,
}

/// A part of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Segment {
    /// A name, or a number in a list.
    Name(String),
    /// The number that a variable holds.
    Variable(String),
}

/// How two values are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operator {
    /// They are equal.
    Is,
    /// They are not.
    IsNot,
    /// The first number is less.
    Less,
    /// ... or equal.
    AtMost,
    /// The first number is greater.
    More,
    /// ... or equal.
    AtLeast,
    /// The text has this form; `*` matches any characters.
    Like,
    /// The number has this bit.
    Has,
}

/// Words in which an operator is written, with what they mean.
pub const OPERATORS: [(&str, &str, Operator); 8] = [
    ("=", "the values are equal", Operator::Is),
    ("!=", "the values are not equal", Operator::IsNot),
    ("<", "the first number is less", Operator::Less),
    ("<=", "the first number is less or equal", Operator::AtMost),
    (">", "the first number is greater", Operator::More),
    (">=", "the first number is greater or equal", Operator::AtLeast),
    ("like", "the text has this form; `*` matches any characters", Operator::Like),
    ("has", "the number has this bit", Operator::Has),
];

/// An expression.
#[derive(Clone, PartialEq, Debug)]
pub enum Expression {
    /// true or false.
    Truth(bool),
    /// A number.
    Number(i128),
    /// A text.
    Text(String),
    /// A field of a state.
    Path(Path),
    /// How many elements a list has.
    Size(Path),
    /// The event of the step, as traces print it.
    Event,
    /// Who does it.
    Party,
    /// Not.
    Not(Box<Expression>),
    /// All of them.
    And(Vec<Expression>),
    /// One of them.
    Or(Vec<Expression>),
    /// Two values, compared.
    Compare(Box<Expression>, Operator, Box<Expression>),
    /// For every element of a list, or some, whose number the variable holds.
    Each {
        /// For every one, and not for some.
        every: bool,
        /// The variable.
        variable: String,
        /// The list.
        list: Path,
        /// What is said of each.
        body: Box<Expression>,
    },
}

/// Why a text is no expression.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{why}")]
pub struct BadExpression {
    /// Where, in bytes.
    pub at: usize,
    /// What is wrong.
    pub why: String,
}

impl Expression {
    /// Reads one.
    ///
    /// # Errors
    /// If the text is none; at which byte, and what would be right there.
    pub fn parse(text: &str) -> Result<Self, BadExpression> {
        let wrong = |at, why: &str| Err(BadExpression { at, why: why.to_owned() });
        if text.len() > LONGEST {
            return wrong(LONGEST, &format!("an expression has at most {LONGEST} bytes"));
        }
        let deep = |(now, most): (usize, usize), c| match c {
            '(' | ':' => (now + 1, most.max(now + 1)),
            ')' => (now.saturating_sub(1), most),
            _ => (now, most),
        };
        if text.chars().fold((0, 0), deep).1 > DEEPEST {
            return wrong(0, &format!("at most {DEEPEST} parts stand in one another"));
        }
        let mut pairs = Grammar::parse(Rule::whole, text).map_err(|error| {
            let at = match error.location {
                pest::error::InputLocation::Pos(at) => at,
                pest::error::InputLocation::Span((from, _)) => from,
            };
            let error = error.renamed_rules(|rule| called(*rule).to_owned());
            BadExpression { at, why: error.variant.message().into_owned() }
        })?;
        match pairs.next() {
            Some(pair) => read(pair),
            None => wrong(0, "nothing is said"),
        }
    }

    /// Every part of it, itself included.
    pub fn walk<'e>(&'e self, f: &mut dyn FnMut(&'e Expression)) {
        f(self);
        match self {
            Expression::Not(inner) | Expression::Each { body: inner, .. } => inner.walk(f),
            Expression::And(parts) | Expression::Or(parts) => {
                parts.iter().for_each(|part| part.walk(f));
            }
            Expression::Compare(one, _, other) => {
                one.walk(f);
                other.walk(f);
            }
            _ => {}
        }
    }

    /// Whether it looks at a step, and not only at the state before it.
    #[must_use]
    pub fn looks_at_a_step(&self) -> bool {
        let mut looks = false;
        self.walk(&mut |part| {
            looks |= match part {
                Expression::Event | Expression::Party => true,
                Expression::Path(path)
                | Expression::Size(path)
                | Expression::Each { list: path, .. } => path.after,
                _ => false,
            }
        });
        looks
    }
}

/// What a rule of the grammar is called in a message.
fn called(rule: Rule) -> &'static str {
    match rule {
        Rule::and => "`and`",
        Rule::or => "`or`",
        Rule::not => "`not`",
        Rule::every | Rule::quantifier => "`every` or `some`",
        Rule::operator => "an operator",
        Rule::number => "a number",
        Rule::text => "a text in quotes",
        Rule::path | Rule::segment => "a field",
        Rule::size | Rule::size_of => "`size`",
        Rule::event => "`event`",
        Rule::party => "`party`",
        Rule::truth => "`true` or `false`",
        Rule::EOI => "the end",
        _ => "an expression",
    }
}

fn read(pair: Pair<'_, Rule>) -> Result<Expression, BadExpression> {
    let at = pair.as_span().start();
    let text = pair.as_str();
    let wrong = |why: String| BadExpression { at, why };
    Ok(match pair.as_rule() {
        Rule::either => several(pair, Expression::Or)?,
        Rule::both => several(pair, Expression::And)?,
        Rule::single => {
            let mut negated = false;
            let mut inner = None;
            for part in pair.into_inner() {
                match part.as_rule() {
                    Rule::not => negated = !negated,
                    _ => inner = Some(read(part)?),
                }
            }
            let inner = inner.ok_or_else(|| wrong("nothing is negated".into()))?;
            if negated { Expression::Not(Box::new(inner)) } else { inner }
        }
        Rule::comparison => {
            let parts: Vec<_> = pair.into_inner().collect();
            match &parts[..] {
                [one] => read(one.clone())?,
                [one, operator, other] => {
                    let known = OPERATORS.iter().find(|(word, ..)| *word == operator.as_str());
                    let (.., operator) =
                        known.ok_or_else(|| wrong("an operator is not known".into()))?;
                    let (one, other) = (read(one.clone())?, read(other.clone())?);
                    Expression::Compare(Box::new(one), *operator, Box::new(other))
                }
                _ => return Err(wrong("two values are compared".into())),
            }
        }
        Rule::every => {
            let parts: Vec<_> = pair.into_inner().filter(|p| p.as_rule() != Rule::r#in).collect();
            let [quantifier, variable, list, body] = &parts[..] else {
                return Err(wrong("`every NAME in FIELD: EXPRESSION`".into()));
            };
            Expression::Each {
                every: quantifier.as_str() == "every",
                variable: variable.as_str().to_owned(),
                list: path(list.clone()),
                body: Box::new(read(body.clone())?),
            }
        }
        Rule::size => match pair.into_inner().find(|part| part.as_rule() == Rule::path) {
            Some(list) => Expression::Size(path(list)),
            None => return Err(wrong("`size FIELD`".into())),
        },
        Rule::path => Expression::Path(path(pair)),
        Rule::number => {
            let read = match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16),
                None => text.parse(),
            };
            let read = read.map_err(|_| wrong(format!("`{text}` is more than 64 bits")));
            Expression::Number(i128::from(read?))
        }
        Rule::text => {
            let inner = pair.into_inner().next();
            Expression::Text(inner.map_or("", |inner| inner.as_str()).to_owned())
        }
        Rule::truth => Expression::Truth(text == "true"),
        Rule::event => Expression::Event,
        Rule::party => Expression::Party,
        rule => return Err(wrong(format!("{} does not stand here", called(rule)))),
    })
}

/// One part as itself, several as what they make together.
fn several(
    pair: Pair<'_, Rule>,
    together: fn(Vec<Expression>) -> Expression,
) -> Result<Expression, BadExpression> {
    let parts = pair.into_inner().filter(|part| !matches!(part.as_rule(), Rule::and | Rule::or));
    let mut parts = parts.map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(match parts.len() {
        1 => parts.remove(0),
        _ => together(parts),
    })
}

fn path(pair: Pair<'_, Rule>) -> Path {
    let mut path = Path { after: false, segments: Vec::new() };
    for part in pair.into_inner() {
        match part.as_rule() {
            Rule::after => path.after = true,
            Rule::index => {
                let variable = part.into_inner().next();
                let variable = variable.map_or("", |variable| variable.as_str());
                path.segments.push(Segment::Variable(variable.to_owned()));
            }
            _ => path.segments.push(Segment::Name(part.as_str().to_owned())),
        }
    }
    path
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, segment) in self.segments.iter().enumerate() {
            match segment {
                Segment::Name(name) if n == 0 => f.write_str(name)?,
                Segment::Name(name) => write!(f, ".{name}")?,
                Segment::Variable(name) => write!(f, "[{name}]")?,
            }
        }
        Ok(())
    }
}
