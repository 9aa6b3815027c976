//! Keys of workflow endpoints: of one workflow, or of every one of an organization.

use super::{
    Machines, MadeKey, NewKey, invalid,
    key::{self, Kind},
};
use crate::{
    audit::{About, gone, made},
    auth::Client,
    fields::{refuse, wrong},
    pages::{cut, one_more},
    still,
};
use bifrost_domain::{
    error::{Error, Result},
    ids::KeyId,
    policy::{
        Permit,
        actions::{ReadWorkflowKeys, WriteWorkflowKeys},
        visible_workflows,
    },
};
use bifrost_storage::{
    Error as StoreError,
    machines::{Keys, workflow_keys::WorkflowKey},
};
use serde_json::Value;

const MAX_WORKFLOW_NAME: usize = 255;

/// What is asked of a new key of workflow endpoints.
#[derive(Debug, Clone, Default)]
pub struct NewWorkflowKey {
    /// The workflow; none: every one.
    pub workflow_name: Option<String>,
    /// Name and end.
    pub key: NewKey,
}

impl Machines {
    /// A page of the keys that the caller reaches, oldest first: at most `limit`, and whether there are more.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn list_workflow_keys(
        &self,
        permit: &Permit<ReadWorkflowKeys>,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<(Vec<WorkflowKey>, bool)> {
        let found = self.reader.list_workflow_keys(permit, after, one_more(limit)).await?;
        Ok(cut(found, limit))
    }

    /// Makes a key for the organization that the caller acts in (a platform admin who acts in none: for GLOBAL).
    ///
    /// # Errors
    /// Invalid fields, among them a workflow that the caller does not see.
    pub async fn create_workflow_key(
        &self,
        permit: &Permit<WriteWorkflowKeys>,
        new: NewWorkflowKey,
        client: &Client,
    ) -> Result<MadeKey<WorkflowKey>> {
        let now = self.clock.now();
        let mut fields = Vec::new();
        let key = new.key.checked(now, &mut fields);
        if let Some(name) = &new.workflow_name {
            let may_be = name.len() <= MAX_WORKFLOW_NAME && !name.contains('\0');
            let visible = visible_workflows(permit.caller()).narrowed(permit.scope());
            if !may_be || self.reader.find_workflow_by_name(name, &visible).await?.is_none() {
                wrong(&mut fields, "workflow_name", "unknown", "names no workflow that you may use");
            }
        }
        refuse(fields)?;
        let fresh = key::fresh(Kind::Workflow);
        let id = KeyId::from_uuid(self.ids.next());
        let kept = WorkflowKey {
            key: fresh.key(id, key, Some(permit.user_id()), now),
            organization_id: permit.scope().organization(),
            workflow_name: new.workflow_name,
            hash: fresh.hash.to_vec(),
            is_open: true,
        };
        let tx = self.store.db().begin().await?;
        still::check(&tx, permit, self.clock.now()).await?;
        tx.insert_workflow_key(permit, &kept).await.map_err(|error| match error {
            StoreError::Reference(_) => Error::not_found("organization"),
            other => other.into(),
        })?;
        let line = self.scribe.line("workflow_key.create", permit.caller(), client);
        let mut entry = line.about(id, kept.organization_id);
        entry.changes = made(described(&kept));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(MadeKey { kept, text: fresh.text })
    }

    /// Revokes a key.
    ///
    /// # Errors
    /// Not found.
    pub async fn delete_workflow_key(
        &self,
        permit: &Permit<WriteWorkflowKeys>,
        id: KeyId,
        client: &Client,
    ) -> Result<()> {
        let tx = self.store.db().begin().await?;
        still::check(&tx, permit, self.clock.now()).await?;
        let found = tx.delete_workflow_key(permit, id).await?.ok_or_else(|| Error::not_found("key"))?;
        let line = self.scribe.line("workflow_key.revoke", permit.caller(), client);
        let mut entry = line.about(id, found.organization_id);
        entry.changes = gone(described(&found));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The key that was shown, if it opens the endpoint of `workflow`.
    ///
    /// # Errors
    /// Unauthenticated, the same for every reason; unavailable when the store is away.
    pub async fn check_workflow_key(&self, workflow: &str, shown: &str) -> Result<WorkflowKey> {
        if Kind::of(shown) != Some(Kind::Workflow) {
            return Err(invalid());
        }
        let hash = key::hash(shown);
        let found = self.reader.find_workflow_key(&hash).await?.ok_or_else(invalid)?;
        let opens = found.workflow_name.as_deref().is_none_or(|name| name == workflow);
        if !key::same(&found.hash, &hash) || !found.key.holds(self.clock.now()) || !found.is_open || !opens {
            return Err(invalid());
        }
        self.note_use(Keys::Workflows, found.key.id);
        Ok(found)
    }
}

/// What the audit log shows of a key.
fn described(one: &WorkflowKey) -> impl Iterator<Item = (&'static str, Value)> {
    key::described(&one.key).into_iter().chain([("workflow_name", one.workflow_name.clone().into())])
}
