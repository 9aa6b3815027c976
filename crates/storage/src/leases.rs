//! Named leases: of several processes one is elected for a duty. A compare-and-set on a row, the same on both databases.

use crate::{Error, Store, dialect::execute};
use bifrost_domain::ids::WorkerId;
use chrono::{DateTime, Utc};

impl Store {
    /// Takes or renews the lease `name` for `holder`; true when it holds it until `until`.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn hold_lease(
        &self,
        name: &str,
        holder: WorkerId,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let changed = execute(
            &self.db,
            "INSERT INTO leases (name, holder, until) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE \
             SET holder = excluded.holder, until = excluded.until WHERE leases.holder = excluded.holder OR leases.until < $4",
            [name.into(), holder.as_uuid().into(), until.into(), now.into()],
        )
        .await?;
        Ok(changed > 0)
    }

    /// Gives back every lease of `holder`, so that another need not wait.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn release_leases(&self, holder: WorkerId) -> Result<(), Error> {
        execute(&self.db, "DELETE FROM leases WHERE holder = $1", [holder.as_uuid().into()]).await?;
        Ok(())
    }
}
