//! Removes what a run left in its folder, however it was left: closed to its owner, or nested deeper than a path or a stack reaches.
//!
//! Nothing here recurses, keeps more than two descriptors or follows a link: what is nested is moved up first, so that the tree gets
//! flatter with each round.

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat},
    sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstatat},
    unistd::{UnlinkatFlags, fchownat, geteuid, unlinkat},
};
use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

/// Names tried for a folder that is moved up: a run may have made some of them itself.
const NAMES_TRIED: u64 = 1000;

/// Removes `folder` with everything in it. No folder is fine. Blocking.
///
/// # Errors
/// The first reason why something could not be removed; everything else has been.
pub(crate) fn remove_tree(folder: &Path) -> io::Result<()> {
    let root = match open_folder(AT_FDCWD, folder) {
        Ok(root) => root,
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let mut names = Names::default();
    loop {
        let before = names.moved;
        let round = clear_once(&root, |name| {
            let nested = open_folder(&root, name)?;
            let left = clear_once(&nested, |inner| move_up(&nested, inner, &root, &mut names))?;
            unlinkat(&root, name, UnlinkatFlags::RemoveDir).map_err(|errno| left.failed.unwrap_or(errno))
        })?;
        match round {
            Round { seen: 0, .. } => break,
            Round { done: 0, failed: Some(errno), .. } if names.moved == before => return Err(errno.into()),
            Round { .. } => {}
        }
    }
    match unlinkat(AT_FDCWD, folder, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Names given to folders that are moved up.
#[derive(Default)]
struct Names {
    tried: u64,
    /// How many folders were moved: when a round moves and removes nothing, no further one will.
    moved: u64,
}

/// What one walk over a folder did.
#[derive(Default)]
struct Round {
    seen: usize,
    done: usize,
    failed: Option<Errno>,
}

/// Removes every file and every empty folder that is found in `folder`; `take_away` is asked to take other folders away.
fn clear_once(
    folder: &OwnedFd,
    mut take_away: impl FnMut(&CStr) -> Result<(), Errno>,
) -> Result<Round, Errno> {
    let mut round = Round::default();
    // Opened again: a list is read from its beginning. Entries that come or go meanwhile are the next round's.
    for entry in Dir::openat(folder, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        round.seen += 1;
        let removed = if is_folder(folder, name) {
            match unlinkat(folder, name, UnlinkatFlags::RemoveDir) {
                Ok(()) => Ok(()),
                Err(_) => take_away(name),
            }
        } else {
            unlinkat(folder, name, UnlinkatFlags::NoRemoveDir)
        };
        match removed {
            Ok(()) => round.done += 1,
            Err(errno) => {
                round.failed.get_or_insert(errno);
            }
        }
    }
    Ok(round)
}

fn is_folder(folder: &OwnedFd, name: &CStr) -> bool {
    let stat = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR)
}

/// Opens a folder for reading and for changes; one that is closed to its owner is opened to him first.
fn open_folder<P: ?Sized + nix::NixPath>(at: impl AsFd + Copy, name: &P) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let opened = openat(at, name, flags, Mode::empty());
    if matches!(opened, Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP)) {
        return opened;
    }
    take_over(at, name);
    opened.or_else(|_| openat(at, name, flags, Mode::empty()))
}

/// Makes a folder this process's own, and opens it to its owner. Folders of a run belong to the run's user, and a worker without the right
/// to pass everything (`CAP_DAC_OVERRIDE`) can do no more than that. By a descriptor: something of the run that outlived it may put a link
/// in the folder's place.
fn take_over<P: ?Sized + nix::NixPath>(at: impl AsFd + Copy, name: &P) {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    // Whoever may not do this may still read: then removing what is inside says why it failed.
    let Ok(folder) = openat(at, name, flags, Mode::empty()) else { return };
    let _refused = fchownat(&folder, "", Some(geteuid()), None, AtFlags::AT_EMPTY_PATH);
    let itself = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let _refused = fchmodat(AT_FDCWD, itself.as_str(), Mode::S_IRWXU, FchmodatFlags::FollowSymlink);
}

/// Moves the folder `name` into `root`, under a name that is free there.
fn move_up(from: &OwnedFd, name: &CStr, root: &OwnedFd, names: &mut Names) -> Result<(), Errno> {
    // A folder that is moved is written to: its `..` changes.
    take_over(from, name);
    let mut outcome = Err(Errno::EEXIST);
    for _ in 0..NAMES_TRIED {
        names.tried += 1;
        outcome = renameat(from, name, root, format!(".up-{}", names.tried).as_str());
        if !matches!(outcome, Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR)) {
            break;
        }
    }
    names.moved += u64::from(outcome.is_ok());
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::mkdirat;
    use std::{fs, os::unix::fs::PermissionsExt};

    /// A chain of folders, deeper than any path can name; the innermost one's mode is `mode`.
    fn chain(root: &Path, depth: usize, mode: Mode) {
        let mut at = openat(AT_FDCWD, root, OFlag::O_DIRECTORY, Mode::empty()).expect("root");
        for level in 1..=depth {
            mkdirat(&at, "a folder", if level == depth { mode } else { Mode::S_IRWXU }).expect("made");
            if level < depth {
                at = openat(&at, "a folder", OFlag::O_DIRECTORY, Mode::empty()).expect("opened");
            }
        }
    }

    fn folder() -> (tempfile::TempDir, std::path::PathBuf) {
        let data = tempfile::tempdir().expect("folder");
        let folder = data.path().join("7");
        fs::create_dir(&folder).expect("made");
        (data, folder)
    }

    #[test]
    fn depth_costs_neither_stack_nor_descriptors() {
        let (_data, folder) = folder();
        // Past the longest path, and past the stack below when each level took a frame.
        chain(&folder, 1_000, Mode::empty());
        let clearing = std::thread::Builder::new().stack_size(64 * 1024);
        let outcome = clearing.spawn({
            let folder = folder.clone();
            move || remove_tree(&folder)
        });
        outcome.expect("a thread").join().expect("no panic").expect("removed");
        assert!(!folder.exists());
        remove_tree(&folder).expect("nothing to remove");
    }

    #[test]
    fn closed_folders_and_odd_files_go_too() {
        let (data, folder) = folder();
        let outside = data.path().join("outside");
        fs::create_dir(&outside).expect("made");
        fs::write(outside.join("kept"), "x").expect("written");
        fs::create_dir_all(folder.join("a/b/c")).expect("made");
        fs::write(folder.join("a/b/c/file"), "x").expect("written");
        // Names that this module would use itself.
        fs::write(folder.join(".up-1"), "x").expect("written");
        fs::create_dir_all(folder.join(".up-2/full")).expect("made");
        std::os::unix::fs::symlink(&outside, folder.join("link")).expect("linked");
        std::os::unix::fs::symlink(&outside, folder.join("a/b/link")).expect("linked");
        nix::unistd::mkfifo(&folder.join("a/fifo"), Mode::S_IRWXU).expect("made");
        for closed in ["a/b/c/file", "a/b/c", "a/b", "a", ""] {
            let mode = fs::Permissions::from_mode(if closed == "a" { 0o555 } else { 0 });
            fs::set_permissions(folder.join(closed), mode).expect("closed");
        }
        remove_tree(&folder).expect("removed");
        assert!(!folder.exists() && outside.join("kept").exists());
    }

    #[test]
    fn a_link_is_not_followed() {
        let (data, folder) = folder();
        let link = data.path().join("link");
        std::os::unix::fs::symlink(&folder, &link).expect("linked");
        remove_tree(&link).expect_err("not a folder");
        assert!(folder.exists());
    }

    #[test]
    fn a_wide_tree_is_removed() {
        let (_data, folder) = folder();
        for outer in 0..10 {
            for inner in 0..20 {
                let path = folder.join(format!("{outer}/{inner}"));
                fs::create_dir_all(&path).expect("made");
                fs::write(path.join("file"), "x").expect("written");
            }
        }
        remove_tree(&folder).expect("removed");
        assert!(!folder.exists());
    }
}
