//! `aias backup` and `aias restore`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};

use crate::data_folder::{
    FolderError, check_format, create_private_folder, objects_of, secrets_of, sync_folder, table_of,
};

/// What `aias backup` and `aias restore` are started with.
#[derive(Debug, Clone, clap::Args)]
pub struct CopyOptions {
    /// The folder that is copied: of a process that may be running, or a backup.
    #[arg(long)]
    pub from: PathBuf,
    /// The folder that is created.
    #[arg(long)]
    pub to: PathBuf,
}

/// Why a folder cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{0} exists: choose another folder with --to, or remove it")]
    Exists(String),
    #[error("{0} cannot be copied")]
    Io(String, #[source] io::Error),
    #[error("the table cannot be copied")]
    Table(#[from] rusqlite::Error),
    #[error("the table is damaged: {0}")]
    Damaged(String),
}

/// Copies a folder consistently, also while a process serves it: the table as of one moment, then
/// the objects. An object is written before the item that names it and deleted by age alone, so the
/// copy has all objects that its items name. The copy gets its name once it is complete, and its table
/// is checked.
///
/// # Errors
///
/// When it cannot be read or written, or the table is damaged.
pub fn copy(options: &CopyOptions) -> Result<(), CopyError> {
    let (from, to) = (options.from.as_path(), options.to.as_path());
    check_format(from)?;
    if to.exists() {
        return Err(CopyError::Exists(to.display().to_string()));
    }
    let failed = |path: &Path| {
        let name = path.display().to_string();
        move |error| CopyError::Io(name, error)
    };
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = to.with_file_name(format!("{name}.unfinished"));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(failed(&unfinished))?;
    }
    create_private_folder(&unfinished).map_err(failed(&unfinished))?;
    copy_table(&table_of(from), &table_of(&unfinished))?;
    copy_files(&objects_of(from), &objects_of(&unfinished)).map_err(failed(&objects_of(from)))?;
    for file in [secrets_of(from), from.join("format")] {
        let target = unfinished.join(file.file_name().unwrap_or_default());
        // With its mode.
        fs::copy(&file, &target).map_err(failed(&file))?;
        sync_folder(&target).map_err(failed(&target))?;
    }
    sync_folder(&unfinished).map_err(failed(&unfinished))?;
    fs::rename(&unfinished, to).map_err(failed(to))?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_folder(parent.unwrap_or_else(|| Path::new("."))).map_err(failed(to))
}

/// Copies the table as of one moment, and checks the copy.
fn copy_table(from: &Path, to: &Path) -> Result<(), CopyError> {
    let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    source.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
    let copy = Connection::open(to)?;
    let found: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(CopyError::Damaged(found));
    }
    drop(copy);
    sync_folder(to).map_err(|error| CopyError::Io(to.display().to_string(), error))
}

/// How deep folders of objects are at most.
const MAX_DEPTH: usize = 6;

/// Copies files, by links where both folders are on one disk: an object never changes.
fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    let mut left = vec![(from.to_owned(), to.to_owned(), 0)];
    while let Some((from, to, depth)) = left.pop() {
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            if entry.file_type()?.is_dir() {
                if depth < MAX_DEPTH {
                    left.push((source, target, depth + 1));
                }
            } else if !entry.file_name().to_string_lossy().starts_with('.') {
                copy_file(&source, &target)?;
            }
        }
        sync_folder(&to)?;
    }
    Ok(())
}

fn copy_file(source: &Path, target: &Path) -> io::Result<()> {
    if fs::hard_link(source, target).is_ok() {
        return Ok(());
    }
    match fs::copy(source, target) {
        Ok(_) => fs::File::open(target)?.sync_data(),
        // It expired meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
