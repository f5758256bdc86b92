//! The S3 bucket in this process: a file for each object.
//!
//! A file is complete and on the disk before it gets its name, so an object exists whole or not at
//! all, whatever happens. The names of all objects contain a digest of their content: writing one
//! twice is harmless.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
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
    /// Held while folders are created: a folder that others see survives.
    creating: Arc<Mutex<()>>,
}

impl Objects {
    #[must_use]
    pub(crate) fn new(folder: PathBuf, durability: Durability) -> Self {
        Self {
            folder,
            durability,
            creating: Arc::default(),
        }
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

    /// Writes an object. One that exists has the same content, since keys contain a digest of it: it
    /// is kept, and counts as new, so that it is retained as long as its newest run.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub(crate) fn put(&self, key: &str, bytes: &[u8]) -> Result<(), ObjectError> {
        let file = self.file(key)?;
        let folder = file.parent().ok_or(ObjectError::Key)?;
        self.create_folders(folder)?;
        if renew(&file)? {
            // Another call may have given it its name and not have made that survive yet.
            return Ok(self.sync_folder(folder)?);
        }
        let temporary = folder.join(format!(".{}", Ulid::from_parts(0, random_id())));
        let written = self
            .write(&temporary, bytes)
            .and_then(|()| fs::rename(&temporary, &file));
        if written.is_err() {
            // The error of the write is what matters.
            let _ = fs::remove_file(&temporary);
        }
        written?;
        Ok(self.sync_folder(folder)?)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        match self.durability {
            Durability::Power => sync_folder(folder),
            Durability::Process => Ok(()),
        }
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
        let _creating = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<&Path> = folder
            .ancestors()
            .take_while(|path| !path.exists())
            .collect();
        fs::create_dir_all(folder)?;
        for parent in missing.iter().filter_map(|path| path.parent()) {
            self.sync_folder(parent)?;
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

/// Sets the age of a file to zero. Whether it exists.
fn renew(file: &Path) -> io::Result<bool> {
    match File::options().append(true).open(file) {
        Ok(found) => found.set_modified(SystemTime::now()).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> (Objects, PathBuf) {
        let folder = std::env::temp_dir().join(format!("aias-objects-{:x}", random_id()));
        fs::create_dir(&folder).unwrap();
        (Objects::new(folder.clone(), Durability::Power), folder)
    }

    #[test]
    fn object_is_written_once_and_read_in_parts() {
        let (objects, folder) = objects();
        objects.put("ten_1/inputs/ab", b"content").unwrap();
        objects.put("ten_1/inputs/ab", b"other").unwrap();
        assert_eq!(objects.get("ten_1/inputs/ab", None).unwrap(), b"content");
        assert_eq!(
            objects.get("ten_1/inputs/ab", Some((0, 2))).unwrap(),
            b"con"
        );
        assert_eq!(
            objects.get("ten_1/inputs/ab", Some((4, 99))).unwrap(),
            b"ent"
        );
        let beyond = objects.get("ten_1/inputs/ab", Some((7, 9)));
        assert!(matches!(beyond, Err(ObjectError::Range)));
        let missing = objects.get("ten_1/inputs/cd", None);
        assert!(matches!(missing, Err(ObjectError::Missing)));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn key_cannot_leave_the_folder() {
        let (objects, folder) = objects();
        for key in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "a/.hidden",
            "a\0b",
            "a b",
        ] {
            assert!(
                matches!(objects.get(key, None), Err(ObjectError::Key)),
                "{key:?}"
            );
            assert!(
                matches!(objects.put(key, b""), Err(ObjectError::Key)),
                "{key:?}"
            );
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn old_objects_are_deleted_unless_they_were_written_again() {
        let (objects, folder) = objects();
        let day = Duration::from_secs(86_400);
        for key in ["ten_1/inputs/old", "ten_1/inputs/again", "ten_2/inputs/old"] {
            objects.put(key, b"").unwrap();
            let file = File::options().append(true).open(folder.join(key)).unwrap();
            file.set_modified(SystemTime::now() - 10 * day).unwrap();
        }
        objects.put("ten_1/inputs/again", b"").unwrap();
        assert_eq!(objects.delete_older(11 * day).unwrap(), 0);
        assert_eq!(objects.delete_older(9 * day).unwrap(), 2);
        assert_eq!(objects.get("ten_1/inputs/again", None).unwrap(), b"");
        assert!(!folder.join("ten_2").exists());
        fs::remove_dir_all(folder).unwrap();
    }
}
