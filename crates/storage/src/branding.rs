//! The platform's name, colour and logos.

use crate::{
    Error, Reader, Tx,
    accounts::Picture,
    dialect::{self, get},
};
use bifrost_domain::{
    branding::{Branding, BrandingPatch, LogoKind},
    policy::{Permit, actions::WriteBranding},
};
use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement};

const FOUND: &str = "SELECT name, primary_color, updated_at, (SELECT etag FROM branding_logos WHERE kind = 'square') AS square, \
                     (SELECT etag FROM branding_logos WHERE kind = 'rectangle') AS rectangle FROM \
                     (SELECT 1 AS id) AS one LEFT JOIN branding ON branding.id = one.id";

fn branding_of(row: &QueryResult) -> Result<Branding, Error> {
    Ok(Branding {
        name: get(row, "branding", "name")?,
        primary_color: get(row, "branding", "primary_color")?,
        square_logo: get(row, "branding_logos", "square")?,
        rectangle_logo: get(row, "branding_logos", "rectangle")?,
        updated_at: get(row, "branding", "updated_at")?,
    })
}

impl Reader {
    /// The branding; empty when nobody set one. Everybody may see it.
    ///
    /// # Errors
    /// Away.
    pub async fn find_branding(&self) -> Result<Branding, Error> {
        let row = dialect::one(&self.db, FOUND, []).await?;
        row.map(|row| branding_of(&row)).transpose().map(Option::unwrap_or_default)
    }

    /// A logo. Everybody may see it.
    ///
    /// # Errors
    /// Away.
    pub async fn find_logo(&self, kind: LogoKind) -> Result<Option<Picture>, Error> {
        let sql = "SELECT content, etag, updated_at FROM branding_logos WHERE kind = $1";
        let row = dialect::one(&self.db, sql, [kind.as_str().into()]).await?;
        row.map(|row| {
            Ok(Picture {
                content: get(&row, "branding_logos", "content")?,
                etag: get(&row, "branding_logos", "etag")?,
                updated_at: get(&row, "branding_logos", "updated_at")?,
            })
        })
        .transpose()
    }
}

impl Tx {
    /// The branding, as this transaction sees it.
    ///
    /// # Errors
    /// Away.
    pub async fn find_branding(&self) -> Result<Branding, Error> {
        let statement = Statement::from_string(self.inner.get_database_backend(), FOUND);
        let row = self.inner.query_one(statement).await?;
        row.map(|row| branding_of(&row)).transpose().map(Option::unwrap_or_default)
    }

    /// The same, which nobody else changes until this transaction ends, once one was set.
    ///
    /// # Errors
    /// Away.
    pub async fn lock_branding(&self, _permit: &Permit<WriteBranding>) -> Result<Branding, Error> {
        if self.inner.get_database_backend() == DbBackend::Postgres {
            dialect::execute_in(&self.inner, "SELECT id FROM branding FOR NO KEY UPDATE", []).await?;
        }
        self.find_branding().await
    }

    /// Changes name and colour: what the change does not name stays, also when somebody else changes it now.
    ///
    /// # Errors
    /// Away.
    pub async fn update_branding(
        &self,
        permit: &Permit<WriteBranding>,
        patch: &BrandingPatch,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        dialect::execute_in(
            &self.inner,
            "INSERT INTO branding (id, name, primary_color, updated_by, updated_at) VALUES (1, $1, $2, $3, $4) \
             ON CONFLICT (id) DO UPDATE SET name = CASE WHEN $5 THEN excluded.name ELSE branding.name END, \
             primary_color = CASE WHEN $6 THEN excluded.primary_color ELSE branding.primary_color END, \
             updated_by = excluded.updated_by, updated_at = excluded.updated_at",
            [
                patch.name.clone().flatten().into(),
                patch.primary_color.clone().flatten().into(),
                permit.user_id().as_uuid().into(),
                now.into(),
                patch.name.is_some().into(),
                patch.primary_color.is_some().into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Sets a logo.
    ///
    /// # Errors
    /// Away.
    pub async fn put_logo(
        &self,
        _permit: &Permit<WriteBranding>,
        kind: LogoKind,
        picture: &Picture,
    ) -> Result<(), Error> {
        dialect::execute_in(
            &self.inner,
            "INSERT INTO branding_logos (kind, content, etag, updated_at) VALUES ($1, $2, $3, $4) ON CONFLICT (kind) \
             DO UPDATE SET content = excluded.content, etag = excluded.etag, updated_at = excluded.updated_at",
            [
                kind.as_str().into(),
                picture.content.clone().into(),
                picture.etag.as_str().into(),
                picture.updated_at.into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Takes a logo away; false when there was none.
    ///
    /// # Errors
    /// Away.
    pub async fn delete_logo(&self, _permit: &Permit<WriteBranding>, kind: LogoKind) -> Result<bool, Error> {
        let sql = "DELETE FROM branding_logos WHERE kind = $1";
        Ok(dialect::execute_in(&self.inner, sql, [kind.as_str().into()]).await? == 1)
    }
}
