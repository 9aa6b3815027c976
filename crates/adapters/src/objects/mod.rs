//! Adapters of the objects port: [`Folder`].

mod folder;
mod key;

pub use folder::Folder;
