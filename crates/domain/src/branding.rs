//! How the platform shows itself: name, colour, logos.

use crate::execution::{UnknownValue, text_enum};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

text_enum! {
    /// The shape of a logo.
    LogoKind {
        /// For small places: at most 512 × 512 pixels.
        Square = "square",
        /// For headers: at most 1024 × 512 pixels.
        Rectangle = "rectangle",
    }
}

/// What is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Branding {
    /// The platform's name.
    pub name: Option<String>,
    /// `#rrggbb`.
    pub primary_color: Option<String>,
    /// The tag of the square logo, when there is one.
    pub square_logo: Option<String>,
    /// The tag of the rectangular logo, when there is one.
    pub rectangle_logo: Option<String>,
    /// When name or colour was changed.
    pub updated_at: Option<DateTime<Utc>>,
}

/// A change: `None` leaves, `Some(None)` clears.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrandingPatch {
    /// The platform's name.
    pub name: Option<Option<String>>,
    /// `#rrggbb`.
    pub primary_color: Option<Option<String>>,
}
