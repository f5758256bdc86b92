//! The folder with all data of an installation.
//!
//! | file | content |
//! |---|---|
//! | `lock` | locked by the process that serves the folder |
//! | `format` | the version of the format of the folder |
//! | `secrets.json` | the keyring, Stripe's secrets, the key of download URLs; mode 0600 |
//! | `table.sqlite` | the table, and the messages of the queues |
//! | `objects/` | inputs, artifacts and journal entries that are too large for an item |

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

/// The version of the format that this program writes.
const FORMAT: u32 = 1;

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{0} cannot be used")]
    Io(String, #[source] io::Error),
    #[error("{0} is in use by another process: stop it, or choose another folder with --data")]
    InUse(String),
    #[error(
        "{0} has the format {1}, which a newer version of AIAS wrote; this one reads the format {FORMAT}"
    )]
    Newer(String, u32),
    #[error("{0} is not empty and is no data folder of AIAS: choose another folder with --data")]
    Foreign(String),
}

/// A folder with data.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    /// Locked until the process ends. None if another process may serve the folder.
    _lock: Option<File>,
}

impl DataFolder {
    /// Creates the folder if it does not exist, and locks it.
    ///
    /// # Errors
    ///
    /// When another process has locked it, or it has an unknown format.
    pub(crate) fn open(path: &Path) -> Result<Self, FolderError> {
        let name = path.display().to_string();
        let failed = |error| FolderError::Io(name.clone(), error);
        create_private_folder(path).map_err(failed)?;
        let is_empty = fs::read_dir(path).map_err(failed)?.next().is_none();
        let format = path.join("format");
        if !is_empty && !format.exists() && !path.join("lock").exists() {
            return Err(FolderError::Foreign(name));
        }
        let lock = File::create(path.join("lock")).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => FolderError::InUse(name.clone()),
            TryLockError::Error(error) => failed(error),
        })?;
        if format.exists() {
            check_format(path)?;
        } else {
            fs::write(&format, format!("{FORMAT}\n")).map_err(failed)?;
            File::open(&format)
                .and_then(|file| file.sync_all())
                .map_err(failed)?;
        }
        let folder = Self {
            path: path.to_owned(),
            _lock: Some(lock),
        };
        fs::create_dir_all(folder.objects()).map_err(failed)?;
        sync_folder(path).map_err(failed)?;
        Ok(folder)
    }

    /// A folder that exists, for a command that works beside the process that serves it.
    ///
    /// # Errors
    ///
    /// When it does not exist, or has an unknown format.
    pub(crate) fn open_shared(path: &Path) -> Result<Self, FolderError> {
        check_format(path)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: None,
        })
    }

    #[must_use]
    pub(crate) fn table(&self) -> PathBuf {
        table_of(&self.path)
    }

    #[must_use]
    pub(crate) fn secrets(&self) -> PathBuf {
        secrets_of(&self.path)
    }

    #[must_use]
    pub(crate) fn objects(&self) -> PathBuf {
        objects_of(&self.path)
    }

    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Checks that a folder has the format of this program.
///
/// # Errors
///
/// When it has another, or none.
pub(crate) fn check_format(path: &Path) -> Result<(), FolderError> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path.join("format"))
        .map_err(|error| FolderError::Io(name.clone(), error))?;
    match text.trim().parse() {
        Ok(FORMAT) => Ok(()),
        Ok(newer) => Err(FolderError::Newer(name, newer)),
        Err(_) => Err(FolderError::Foreign(name)),
    }
}

pub(crate) fn table_of(path: &Path) -> PathBuf {
    path.join("table.sqlite")
}

pub(crate) fn secrets_of(path: &Path) -> PathBuf {
    path.join("secrets.json")
}

pub(crate) fn objects_of(path: &Path) -> PathBuf {
    path.join("objects")
}

/// Creates a folder, unless it exists, that other users cannot read.
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes the entries of a folder survive a loss of power.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
