//! What a file says, held against itself: from what is written to what is meant, and back.
//!
//! **Invariant.** What was resolved and is written again resolves to the same.

use std::collections::BTreeMap;

use super::allowed::Allowed;
use super::bounded_json::{List, Object, OneOrMore};
use super::configuration::Settings;
use super::constraint::Constraint;
use super::definition::{Definition, Stated};
use super::form::{
    BadForm, ConstraintForm, DefinitionForm, ImplementationForm, InstanceForm, MAX_PARAMETERS,
    MAX_VALUES, ModelForm, ParameterForm, StatedForm,
};
use super::id::ModelId;
use super::implementation::{BadModel, Implementation, Model, Parameter};
use super::instance::Instance;
use super::value::{Name, Value};

impl InstanceForm {
    /// Checks it.
    ///
    /// # Errors
    /// See [`BadForm`].
    pub fn resolve(self) -> Result<Instance, BadForm> {
        let model: ModelId = self.model.parse()?;
        let definition = self.definition.map(DefinitionForm::resolve).transpose()?;
        Ok(Instance::described(model, self.parameters.0, self.external.0, definition)?)
    }
}

impl From<&Instance> for InstanceForm {
    fn from(instance: &Instance) -> Self {
        InstanceForm {
            model: instance.model().to_string(),
            parameters: Object(instance.parameters().clone()),
            external: Object(instance.external().clone()),
            definition: instance.definition().map(DefinitionForm::from),
        }
    }
}

impl DefinitionForm {
    /// Checks it.
    ///
    /// # Errors
    /// See [`BadForm`].
    pub fn resolve(self) -> Result<Definition, BadForm> {
        let model: ModelId = self.model.parse()?;
        let mut parameters = BTreeMap::new();
        for form in self.parameters.0 {
            let stated = Stated::new(form.kind, form.off_value, form.affects).map_err(|bad| {
                BadForm::Values(form.name.to_string(), model.clone(), bad.to_string())
            })?;
            if parameters.insert(form.name.clone(), stated).is_some() {
                return Err(BadForm::Twice(form.name, model));
            }
        }
        Ok(Definition::new(model, parameters))
    }
}

impl From<&Definition> for DefinitionForm {
    fn from(definition: &Definition) -> Self {
        let stated = |(name, stated): (&Name, &Stated)| StatedForm {
            name: name.clone(),
            kind: stated.kind(),
            off_value: stated.off().cloned(),
            affects: stated.affects(),
            description: None,
        };
        DefinitionForm {
            model: definition.model().to_string(),
            parameters: List(definition.parameters().iter().map(stated).collect()),
        }
    }
}

impl ImplementationForm {
    /// Checks it.
    ///
    /// # Errors
    /// See [`BadForm`].
    pub fn resolve(self) -> Result<Implementation, BadForm> {
        let definitions = self.definition.map(OneOrMore::into_vec).unwrap_or_default();
        let mut owners = BTreeMap::new();
        for form in definitions {
            let definition = form.resolve()?;
            let id = definition.model().clone();
            if owners.insert(id.clone(), definition).is_some() {
                return Err(BadForm::Defined(id));
            }
        }
        let mut models = Vec::with_capacity(self.models.0.len());
        for form in self.models.0 {
            let id: ModelId = form.model.parse()?;
            let definition = owners.remove(&id);
            models.push(form.resolve(id, definition)?);
        }
        if let Some(id) = owners.into_keys().next() {
            return Err(BadModel::Definition(id).into());
        }
        Ok(Implementation::new(models)?)
    }
}

impl From<&Implementation> for ImplementationForm {
    fn from(implementation: &Implementation) -> Self {
        let models = implementation.models().values();
        let mut definitions: Vec<DefinitionForm> =
            models.clone().filter_map(Model::definition).map(DefinitionForm::from).collect();
        ImplementationForm {
            models: List(models.map(ModelForm::from).collect()),
            definition: match definitions.len() {
                0 => None,
                1 => definitions.pop().map(OneOrMore::One),
                _ => Some(OneOrMore::More(List(definitions))),
            },
        }
    }
}

impl ModelForm {
    fn resolve(self, id: ModelId, definition: Option<Definition>) -> Result<Model, BadForm> {
        let mut parameters = BTreeMap::new();
        for form in self.parameters.0 {
            let name = form.name.clone();
            let bad = |why: String| BadForm::Values(name.to_string(), id.clone(), why);
            let allowed = match &form.allowed_values {
                None => Allowed::Any(form.kind),
                Some(list) => {
                    Allowed::of(form.kind, &list.0).map_err(|error| bad(error.to_string()))?
                }
            };
            let parameter = Parameter::new(allowed, form.init_value, form.off_value)
                .map_err(|error| bad(error.to_string()))?;
            if parameters.insert(form.name.clone(), parameter).is_some() {
                return Err(BadForm::Twice(form.name, id));
            }
        }
        let aliases =
            self.aliases.0.into_iter().map(|(name, settings)| (name, settings.0)).collect();
        let constraints: Result<Vec<_>, _> =
            self.constraints.0.into_iter().map(|form| form.resolve(&id, &parameters)).collect();
        Ok(Model::new(id, parameters, aliases, constraints?, definition)?)
    }
}

impl From<&Model> for ModelForm {
    fn from(model: &Model) -> Self {
        let parameter = |(name, p): (&Name, &Parameter)| ParameterForm {
            name: name.clone(),
            kind: p.kind(),
            allowed_values: p.allowed().list().map(List),
            init_value: p.init().clone(),
            off_value: p.off().cloned(),
            description: None,
        };
        let alias = |(name, settings): (&Name, &Settings)| (name.clone(), Object(settings.clone()));
        ModelForm {
            model: model.id().to_string(),
            parameters: List(model.parameters().iter().map(parameter).collect()),
            aliases: Object(model.aliases().iter().map(alias).collect()),
            constraints: List(model.constraints().iter().map(ConstraintForm::from).collect()),
            description: None,
        }
    }
}

impl ConstraintForm {
    fn resolve(
        self,
        id: &ModelId,
        parameters: &BTreeMap<Name, Parameter>,
    ) -> Result<Constraint, BadForm> {
        let set = |name: &Name, list: &[Value]| {
            let what = || "a constraint".to_owned();
            let known = parameters.get(name).ok_or_else(|| {
                BadForm::from(BadModel::NoParameter(what(), name.clone(), id.clone()))
            })?;
            Allowed::of(known.kind(), list)
                .map_err(|error| BadForm::Values(name.to_string(), id.clone(), error.to_string()))
        };
        let sets = |object: Object<Name, List<Value, MAX_VALUES>, MAX_PARAMETERS>| {
            let each = |(name, list): (Name, List<Value, MAX_VALUES>)| {
                let set = set(&name, &list.0)?;
                Ok((name, set))
            };
            object.0.into_iter().map(each).collect::<Result<BTreeMap<_, _>, BadForm>>()
        };
        match (self.when, self.then, self.parameters, self.allowed) {
            (Some(when), Some(then), None, None) => {
                Ok(Constraint::Implies { when: sets(when)?, then: sets(then)? })
            }
            (None, None, Some(names), Some(rows)) => {
                let mut table = Vec::with_capacity(rows.0.len());
                for row in rows.0 {
                    if row.0.len() != names.0.len() {
                        return Err(BadModel::Row(names.0.len(), row.0.len()).into());
                    }
                    let cells = names.0.iter().zip(row.0);
                    let row: Result<Vec<_>, _> =
                        cells.map(|(name, cell)| set(name, &cell.into_vec())).collect();
                    table.push(row?);
                }
                Ok(Constraint::Table { parameters: names.0, rows: table })
            }
            _ => Err(BadForm::Constraint),
        }
    }
}

impl From<&Constraint> for ConstraintForm {
    fn from(constraint: &Constraint) -> Self {
        let list = |set: &Allowed| List(set.list().unwrap_or_default());
        let sets = |sets: &BTreeMap<Name, Allowed>| {
            Some(Object(sets.iter().map(|(name, set)| (name.clone(), list(set))).collect()))
        };
        match constraint {
            Constraint::Implies { when, then } => {
                ConstraintForm { when: sets(when), then: sets(then), ..ConstraintForm::default() }
            }
            Constraint::Table { parameters, rows } => {
                let row = |row: &Vec<Allowed>| {
                    List(row.iter().map(|set| OneOrMore::More(list(set))).collect())
                };
                ConstraintForm {
                    parameters: Some(List(parameters.clone())),
                    allowed: Some(List(rows.iter().map(row).collect())),
                    ..ConstraintForm::default()
                }
            }
        }
    }
}
