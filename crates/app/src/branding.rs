//! The platform's name, colour and logos: everybody sees them, platform admins change them.

use crate::{
    audit::{About, Scribe, changes},
    auth::Client,
    images::{Fit, Images},
    still,
};
use bifrost_domain::{
    branding::{Branding, BrandingPatch, LogoKind},
    clock::{SharedClock, SharedIds},
    error::{Error, Field, Result},
    policy::{Permit, actions::WriteBranding},
};
use bifrost_storage::{Reader, Store, accounts::Picture};
use bytes::Bytes;
use serde_json::json;

const MAX_NAME: usize = 100;

/// The branding of the platform. Cheap to clone.
#[derive(Clone)]
pub struct PlatformBranding {
    store: Store,
    reader: Reader,
    clock: SharedClock,
    scribe: Scribe,
    images: Images,
}

impl std::fmt::Debug for PlatformBranding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlatformBranding").finish_non_exhaustive()
    }
}

const fn fit(kind: LogoKind) -> Fit {
    match kind {
        LogoKind::Square => Fit { width: 512, height: 512 },
        LogoKind::Rectangle => Fit { width: 1024, height: 512 },
    }
}

impl PlatformBranding {
    /// The branding over a store.
    #[must_use]
    pub fn new(store: Store, clock: SharedClock, ids: SharedIds, images: Images) -> Self {
        Self { reader: store.reader(), store, scribe: Scribe::new(clock.clone(), ids), clock, images }
    }

    /// What is shown.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn get(&self) -> Result<Branding> {
        Ok(self.reader.find_branding().await?)
    }

    /// Changes name and colour.
    ///
    /// # Errors
    /// Invalid fields.
    pub async fn update(
        &self,
        permit: &Permit<WriteBranding>,
        patch: BrandingPatch,
        client: &Client,
    ) -> Result<Branding> {
        let patch = checked(patch)?;
        let tx = self.store.db().begin().await?;
        still::check(&tx, permit, self.clock.now()).await?;
        let old = tx.lock_branding(permit).await?;
        tx.update_branding(permit, &patch, self.clock.now()).await?;
        let new = tx.find_branding().await?;
        let mut entry = self.scribe.line("branding.update", permit.caller(), client).about("platform", None);
        entry.changes = changes([
            ("name", json!(old.name), json!(new.name)),
            ("primary_color", json!(old.primary_color), json!(new.primary_color)),
        ]);
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(new)
    }

    /// A logo.
    ///
    /// # Errors
    /// Not found when there is none.
    pub async fn logo(&self, kind: LogoKind) -> Result<Picture> {
        self.reader.find_logo(kind).await?.ok_or_else(|| Error::not_found("logo"))
    }

    /// Sets a logo.
    ///
    /// # Errors
    /// As [`Images::picture`].
    pub async fn set_logo(
        &self,
        permit: &Permit<WriteBranding>,
        kind: LogoKind,
        file: Bytes,
        client: &Client,
    ) -> Result<Branding> {
        let picture = self.images.picture(file, fit(kind), self.clock.now()).await?;
        let tx = self.store.db().begin().await?;
        still::check(&tx, permit, self.clock.now()).await?;
        tx.put_logo(permit, kind, &picture).await?;
        let mut entry = self.scribe.line("branding.logo", permit.caller(), client).about(kind, None);
        entry.detail = Some(json!({"bytes": picture.content.len()}));
        tx.insert_audit(entry).await?;
        let new = tx.find_branding().await?;
        tx.commit().await?;
        Ok(new)
    }

    /// Takes a logo away.
    ///
    /// # Errors
    /// Not found when there is none.
    pub async fn delete_logo(
        &self,
        permit: &Permit<WriteBranding>,
        kind: LogoKind,
        client: &Client,
    ) -> Result<()> {
        let tx = self.store.db().begin().await?;
        still::check(&tx, permit, self.clock.now()).await?;
        if !tx.delete_logo(permit, kind).await? {
            return Err(Error::not_found("logo"));
        }
        let entry = self.scribe.line("branding.logo_delete", permit.caller(), client).about(kind, None);
        tx.insert_audit(entry).await?;
        Ok(tx.commit().await?)
    }
}

fn checked(patch: BrandingPatch) -> Result<BrandingPatch> {
    let mut fields = Vec::new();
    let mut wrong = |path: &str, code: &'static str, message: String| {
        fields.push(Field { path: path.to_owned(), code: code.into(), message });
    };
    let trimmed = |text: String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let name = patch.name.map(|name| name.and_then(trimmed));
    if let Some(Some(name)) = &name
        && (name.chars().count() > MAX_NAME || name.chars().any(char::is_control))
    {
        wrong("name", "length", format!("must have at most {MAX_NAME} characters and no control characters"));
    }
    let primary_color =
        patch.primary_color.map(|color| color.and_then(trimmed).map(|text| text.to_lowercase()));
    if let Some(Some(color)) = &primary_color
        && !is_color(color)
    {
        wrong("primary_color", "format", "must be a colour like `#0066cc`".to_owned());
    }
    if fields.is_empty() {
        Ok(BrandingPatch { name, primary_color })
    } else {
        Err(Error::invalid_fields(fields))
    }
}

fn is_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or_default();
    digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_field_is_named() {
        let patch = |name: &str, color: &str| BrandingPatch {
            name: Some(Some(name.to_owned())),
            primary_color: Some(Some(color.to_owned())),
        };
        let kept = checked(patch(" Acme ", "#00AAcc")).expect("good");
        assert_eq!(kept, patch("Acme", "#00aacc"));
        assert_eq!(
            checked(patch("", " ")).expect("cleared"),
            BrandingPatch { name: Some(None), primary_color: Some(None) }
        );
        assert!(checked(patch(&"n".repeat(100), "#000000")).is_ok());
        for color in ["red", "#12345", "#1234567", "#12345g", "123456", "#１２"] {
            let error = checked(patch(&"n".repeat(101), color)).expect_err(color);
            let paths: Vec<&str> = error.fields.iter().map(|field| field.path.as_str()).collect();
            assert_eq!(paths, ["name", "primary_color"], "{color}");
        }
    }
}
