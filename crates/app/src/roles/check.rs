//! What may stand in a role, and in a list of those who get one.

use super::MAX_IDS;
use bifrost_domain::{
    error::{Error, Field, Result},
    policy::actions::is_grantable,
};
use std::collections::BTreeSet;

const MAX_NAME: usize = 100;
const MAX_DESCRIPTION: usize = 1_000;
const MAX_PERMISSIONS: usize = 200;

pub(super) fn refuse(fields: Vec<Field>) -> Result<()> {
    if fields.is_empty() { Ok(()) } else { Err(Error::invalid_fields(fields)) }
}

pub(super) fn checked_name(name: &str, fields: &mut Vec<Field>) -> String {
    let name = name.trim();
    if !(1..=MAX_NAME).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        let message = format!("must have 1 to {MAX_NAME} characters and no control characters");
        fields.push(Field { path: "name".to_owned(), code: "length".into(), message });
    }
    name.to_owned()
}

pub(super) fn checked_description(text: Option<String>, fields: &mut Vec<Field>) -> Option<String> {
    let text = text?;
    if text.chars().count() > MAX_DESCRIPTION || text.contains('\0') {
        let message = format!("must have at most {MAX_DESCRIPTION} characters and no NUL");
        fields.push(Field { path: "description".to_owned(), code: "too_long".into(), message });
    }
    Some(text)
}

pub(super) fn checked_permissions(list: Vec<String>, fields: &mut Vec<Field>) -> BTreeSet<String> {
    if list.len() > MAX_PERMISSIONS {
        let message = format!("must be at most {MAX_PERMISSIONS}");
        fields.push(Field { path: "permissions".to_owned(), code: "too_long".into(), message });
        return BTreeSet::new();
    }
    for (index, permission) in list.iter().enumerate() {
        if !is_grantable(permission) {
            let message = "is not a permission that a role can carry; see docs/policy.md".to_owned();
            fields.push(Field { path: format!("permissions[{index}]"), code: "value".into(), message });
        }
    }
    list.into_iter().collect()
}

pub(super) fn checked_ids<T: Ord>(path: &str, ids: Vec<T>) -> Result<BTreeSet<T>> {
    if !(1..=MAX_IDS).contains(&ids.len()) {
        return Err(Error::invalid(path, "length", format!("must be 1 to {MAX_IDS} ids")));
    }
    Ok(ids.into_iter().collect())
}
