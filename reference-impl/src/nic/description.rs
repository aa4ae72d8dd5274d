//! What a build says that it makes.

use devmig_model::device_model::Value;
use devmig_model::device_model::form::ImplementationForm;
use devmig_model::device_model::rfc::InfoForm;

use super::config::{Given, Order};
use super::model::{BadTable, NicModel, implementation, info};
use super::mutants::Mutant;

/// What a build says that it makes, given what it was asked for besides: nothing of that matters, unless
/// something is wrong with it.
///
/// # Errors
/// See [`implementation`].
pub fn described(order: &Order) -> Result<(InfoForm, ImplementationForm), BadTable> {
    let host = implementation(order.build.release)?;
    let (mut info, mut own) = (info(&host), ImplementationForm::from(&host));
    let id = NicModel::Nic.id();
    let models = own.models.0.iter_mut().filter(|model| model.model == id);
    let ours = models.flat_map(|model| &mut model.parameters.0);
    let theirs = info.models.0.get_mut(id).into_iter().flat_map(|model| &mut model.params.0);
    // Both forms say the same, whatever is wrong.
    let each = |name: &str, init: &mut Value, off: &mut Option<Value>| match order.build.mutant {
        Some(Mutant::InitNotAllowed) if name == "rx-filter-size" => *init = Value::Int(4096),
        Some(Mutant::OffWrong) if name == "rss" => *off = Some(Value::Bool(true)),
        Some(Mutant::DescriptionVaries) => {
            let asked = order.given.iter().find(|(asked, _)| asked == name);
            if let Some((_, Given::Text(text))) = asked {
                *init = init.kind().read(text).unwrap_or_else(|_| init.clone());
            }
        }
        _ => {}
    };
    ours.for_each(|p| each(p.name.as_str(), &mut p.init_value, &mut p.off_value));
    theirs.for_each(|(name, p)| each(name.as_str(), &mut p.init_value, &mut p.off_value));
    Ok((info, own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nic::Release;
    use devmig_model::device_model::Implementation;

    #[test]
    fn a_description_that_is_written_is_read_as_what_it_was() {
        use devmig_model::device_model::{form, rfc};
        let two = implementation(Release::Two).unwrap();
        let (info, own) = described(&Order::default()).unwrap();
        let own = serde_json::to_vec(&own).unwrap();
        assert_eq!(form::implementation(&own).unwrap(), two);
        let read = rfc::info(&serde_json::to_vec(&info).unwrap()).unwrap();
        let ids = |of: &Implementation| of.models().keys().cloned().collect::<Vec<_>>();
        assert_eq!(ids(&read), ids(&two));
    }
}
