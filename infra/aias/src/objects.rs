//! The S3 bucket in this process: a file for each object.
//!
//! A file is complete and on the disk before it gets its name, so an object exists whole or not at
//! all, whatever happens. The names of all objects contain a digest of their content: writing one
//! twice is harmless.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use aias_platform::clock::random_id;
use ulid::Ulid;

use crate::{data_folder::sync_folder, disk_sync::Durability};

/// Why an object cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectError {
    #[error("the key is malformed")]
    Key,
    #[error("the object does not exist")]
    Missing,
    #[error("the object exists")]
    Exists,
    #[error("the range is outside of the object")]
    Range,
    #[error("the object cannot be read or written")]
    Io(#[from] io::Error),
}

/// The objects of a folder.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    folder: PathBuf,
    durability: Durability,
}

impl Objects {
    #[must_use]
    pub(crate) fn new(folder: PathBuf, durability: Durability) -> Self {
        Self { folder, durability }
    }

    /// The file of a key: segments of letters, digits, `_`, `-`, and `.` within a segment.
    fn file(&self, key: &str) -> Result<PathBuf, ObjectError> {
        let is_plain = |segment: &str| {
            !segment.is_empty()
                && !segment.starts_with('.')
                && segment
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        };
        if key.len() > 1_024 || !key.split('/').all(is_plain) {
            return Err(ObjectError::Key);
        }
        Ok(self.folder.join(key))
    }

    /// Writes an object unless it exists.
    ///
    /// # Errors
    ///
    /// When it exists, or the disk fails.
    pub(crate) fn put_new(&self, key: &str, bytes: &[u8]) -> Result<(), ObjectError> {
        let file = self.file(key)?;
        if file.exists() {
            return Err(ObjectError::Exists);
        }
        let folder = file.parent().ok_or(ObjectError::Key)?;
        self.create_folders(folder)?;
        let temporary = folder.join(format!(".{}", Ulid::from_parts(0, random_id())));
        let written = self
            .write(&temporary, bytes)
            .and_then(|()| fs::rename(&temporary, &file));
        if written.is_err() {
            // The error of the write is what matters.
            let _ = fs::remove_file(&temporary);
        }
        written?;
        if self.durability == Durability::Power {
            sync_folder(folder)?;
        }
        Ok(())
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut created = File::create_new(file)?;
        created.write_all(bytes)?;
        if self.durability == Durability::Power {
            created.sync_data()?;
        }
        Ok(())
    }

    /// Creates the missing folders of an object, which must survive as well.
    fn create_folders(&self, folder: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = folder
            .ancestors()
            .take_while(|path| !path.exists())
            .collect();
        fs::create_dir_all(folder)?;
        if self.durability == Durability::Power {
            for parent in missing.iter().filter_map(|path| path.parent()) {
                sync_folder(parent)?;
            }
        }
        Ok(())
    }

    /// Reads an object, or at most the bytes up to `last` of it.
    ///
    /// # Errors
    ///
    /// When it does not exist, or the disk fails.
    pub(crate) fn get(&self, key: &str, range: Option<(u64, u64)>) -> Result<Vec<u8>, ObjectError> {
        let mut file = File::open(self.file(key)?).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                ObjectError::Missing
            } else {
                ObjectError::Io(error)
            }
        })?;
        let mut bytes = Vec::new();
        match range {
            None => file.read_to_end(&mut bytes)?,
            Some((first, last)) => {
                if first > last || first >= file.metadata()?.len() {
                    return Err(ObjectError::Range);
                }
                file.seek(SeekFrom::Start(first))?;
                file.take(last - first + 1).read_to_end(&mut bytes)?
            }
        };
        Ok(bytes)
    }

    /// Deletes the objects that are older than `age`, and the folders that are empty then. Returns
    /// how many objects.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub(crate) fn delete_older(&self, age: Duration) -> io::Result<u64> {
        let before = SystemTime::now()
            .checked_sub(age)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let mut deleted = 0;
        for tenant in fs::read_dir(&self.folder)? {
            deleted += delete_older_in(&tenant?.path(), before)?;
        }
        Ok(deleted)
    }
}

/// How deep the folders of objects are.
const MAX_DEPTH: usize = 4;

fn delete_older_in(folder: &Path, before: SystemTime) -> io::Result<u64> {
    let (mut deleted, mut left) = (0, vec![(folder.to_owned(), 0)]);
    let mut folders = Vec::new();
    while let Some((folder, depth)) = left.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                if depth < MAX_DEPTH {
                    left.push((entry.path(), depth + 1));
                }
            } else if metadata.modified()? < before {
                fs::remove_file(entry.path())?;
                deleted += 1;
            }
        }
        folders.push(folder);
    }
    if deleted > 0 {
        // The deepest are the last. A folder that is not empty stays.
        for folder in folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
    Ok(deleted)
}
