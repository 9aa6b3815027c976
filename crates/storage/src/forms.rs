//! Forms. So far: whether one is there.

use crate::{Error, Reader, dialect::one, workflows::scope_condition};
use bifrost_domain::{ids::FormId, policy::Visibility};
use sea_orm::Value as Bind;

impl Reader {
    /// Whether an active form of this id is visible: the organization's or a global one.
    ///
    /// # Errors
    /// Away.
    pub async fn has_form(&self, id: FormId, visibility: &Visibility) -> Result<bool, Error> {
        let mut values: Vec<Bind> = vec![id.as_uuid().into()];
        let scope = scope_condition(visibility, &mut values);
        let sql = format!("SELECT id FROM forms WHERE is_active AND id = $1{scope}");
        Ok(one(&self.db, &sql, values).await?.is_some())
    }
}
