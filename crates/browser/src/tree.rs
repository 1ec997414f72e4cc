//! A store's directories in the origin private file system: finding, making, listing, removing and renaming what is in
//! them, by path. Which files are open is not known here.
//!
//! Listing and removing go through the `opfs` crate. Handles are looked up on web-sys, because that crate does not give
//! out the ones it wraps, and access handles and `move` need them.

use futures_util::TryStreamExt;
use js_sys::{Promise, Reflect};
use opfs::DirectoryHandle as _;
use statik_disk::{Error, Kind, Result};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions, FileSystemGetFileOptions,
    FileSystemSyncAccessHandle, StorageManager,
};

use crate::clock;
use crate::errors::{from_js, name};

/// The pauses before what another tab or worker holds is tried again: a tab that was just killed lets go within them.
const BACKOFF_MS: [f64; 8] = [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0];

/// How much of a file is copied at a time where files cannot be moved.
const COPY_BYTES: usize = 1 << 20;

#[wasm_bindgen]
extern "C" {
    /// `FileSystemHandle.move`, which web-sys does not know.
    type Movable;
    #[wasm_bindgen(method, js_name = move)]
    fn move_to(this: &Movable, directory: &FileSystemDirectoryHandle, name: &str) -> Promise;
}

/// The directory that a store's paths are relative to.
pub(crate) struct Tree {
    root: FileSystemDirectoryHandle,
}

impl Tree {
    /// The directory at `path` below the origin's, made if it is missing.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if the browser has no origin private file system or refuses it.
    pub async fn open(path: &[&str]) -> Result<Self> {
        let refused = "this browser has, or gives this page, no origin private file system";
        let mut root: FileSystemDirectoryHandle = JsFuture::from(storage()?.get_directory())
            .await
            .map_err(|thrown| Error::new(Kind::Unsupported, refused).because(from_js(&thrown, "getDirectory")))?
            .unchecked_into();
        for name in path {
            root =
                directory(&root, name, true).await.map_err(|thrown| from_js(&thrown, "opening the store").at(*name))?;
        }
        Ok(Tree { root })
    }

    /// The file at `path`. With `create`, it and its directories are made if they are missing.
    pub async fn file(&self, path: &str, create: bool) -> Result<FileSystemFileHandle> {
        let (parent, file_name) = self.parent(path, create).await?;
        match file(&parent, file_name, create).await {
            // An empty directory, left behind by a crash, is not there as far as anyone can tell.
            Err(thrown) if create && name(&thrown) == "TypeMismatchError" => {
                remove(&parent, file_name).await.map_err(|thrown| {
                    let cause = from_js(&thrown, "removing the directory");
                    Error::new(Kind::Exists, "creating: a directory has this name").at(path).because(cause)
                })?;
                file(&parent, file_name, create).await
            }
            result => result,
        }
        .map_err(|thrown| lookup(&thrown, path, create))
    }

    /// Removes a file, and the directories that have nothing else in them.
    pub async fn remove(&self, path: &str) -> Result<()> {
        let (parent, file_name) = self.parent(path, false).await?;
        // `removeEntry` takes a directory as well.
        file(&parent, file_name, false).await.map_err(|thrown| lookup(&thrown, path, false))?;
        retry_busy(async || remove(&parent, file_name).await)
            .await
            .map_err(|thrown| from_js(&thrown, "removing").at(path))?;
        self.prune(path).await
    }

    /// Renames a file over whatever file has the name already, in one step where the browser can move files.
    ///
    /// Elsewhere it is copied, flushed, and then the original removed: a crash in between leaves the original whole and
    /// the copy in doubt.
    pub async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let source = self.file(from, false).await?;
        if from == to {
            return Ok(());
        }
        if Reflect::has(&source, &"move".into()) == Ok(true) {
            let (directory, name) = self.parent(to, true).await?;
            let source: &Movable = source.unchecked_ref();
            retry_busy(async || JsFuture::from(source.move_to(&directory, name)).await)
                .await
                .map_err(|thrown| from_js(&thrown, &format!("renaming to {to:?}")).at(from))?;
            self.prune(from).await
        } else {
            copy(&source, from, &self.file(to, true).await?, to).await?;
            self.remove(from).await
        }
    }

    /// The paths of all files.
    pub async fn list(&self) -> Result<Vec<String>> {
        let failed = |thrown: JsValue| from_js(&thrown, "listing the store");
        let mut paths = Vec::new();
        let mut directories = vec![(String::new(), opfs::web::DirectoryHandle::from(self.root.clone()))];
        while let Some((prefix, directory)) = directories.pop() {
            let mut entries = Box::pin(directory.entries().await.map_err(failed)?);
            while let Some((name, entry)) = entries.try_next().await.map_err(failed)? {
                match entry {
                    opfs::DirectoryEntry::File(_) => paths.push(format!("{prefix}{name}")),
                    opfs::DirectoryEntry::Directory(inner) => directories.push((format!("{prefix}{name}/"), inner)),
                }
            }
        }
        Ok(paths)
    }

    /// The directory that `path` lies in, and the path's last name.
    async fn parent<'p>(&self, path: &'p str, create: bool) -> Result<(FileSystemDirectoryHandle, &'p str)> {
        let mut names = path.split('/');
        let last = names.next_back().expect("split yields at least one part");
        let mut parent = self.root.clone();
        for name in names {
            parent = directory(&parent, name, create).await.map_err(|thrown| lookup(&thrown, path, create))?;
        }
        Ok((parent, last))
    }

    /// Removes the directories above a file that is gone, from the lowest up, until one is not empty.
    async fn prune(&self, path: &str) -> Result<()> {
        let mut rest = path;
        while let Some((path, _)) = rest.rsplit_once('/') {
            let failed = |thrown: JsValue| from_js(&thrown, "removing an empty directory").at(path);
            let (parent, name) = self.parent(path, false).await?;
            // Asked first, since what removing it would say depends on whether a file in it is open.
            let directory = directory(&parent, name, false).await.map_err(failed)?;
            let directory = opfs::web::DirectoryHandle::from(directory);
            let mut entries = Box::pin(directory.entries().await.map_err(failed)?);
            if entries.try_next().await.map_err(failed)?.is_some() {
                break;
            }
            remove(&parent, name).await.map_err(failed)?;
            rest = path;
        }
        Ok(())
    }
}

/// A file's access handle: [`Kind::Busy`] if someone else has one and keeps it.
pub(crate) async fn access(file: &FileSystemFileHandle, path: &str) -> Result<FileSystemSyncAccessHandle> {
    let access = retry_busy(async || JsFuture::from(file.create_sync_access_handle()).await).await;
    access.map(JsCast::unchecked_into).map_err(|thrown| {
        let error = from_js(&thrown, "opening").at(path);
        match error.kind() {
            Kind::Busy => Error::new(Kind::Busy, "the file is open in another tab or worker").at(path).because(error),
            _ => error,
        }
    })
}

/// The origin's storage. In a page without a secure context, and in old browsers, parts of it are missing.
fn storage() -> Result<StorageManager> {
    let property = |object: &JsValue, key: &str| Reflect::get(object, &key.into()).unwrap_or(JsValue::UNDEFINED);
    let global: JsValue = js_sys::global().into();
    let storage = property(&property(&global, "navigator"), "storage");
    if !property(&storage, "getDirectory").is_function() {
        let why =
            "navigator.storage.getDirectory is missing: the browser is too old, or the page is not served securely";
        return Err(Error::new(Kind::Unsupported, why));
    }
    let prototype = property(&property(&global, "FileSystemFileHandle"), "prototype");
    if !property(&prototype, "createSyncAccessHandle").is_function() {
        let why = "createSyncAccessHandle is missing: the browser is too old, or this is not a dedicated worker";
        return Err(Error::new(Kind::Unsupported, why));
    }
    Ok(storage.unchecked_into())
}

async fn directory(
    parent: &FileSystemDirectoryHandle,
    name: &str,
    create: bool,
) -> Result<FileSystemDirectoryHandle, JsValue> {
    let options = FileSystemGetDirectoryOptions::new();
    options.set_create(create);
    JsFuture::from(parent.get_directory_handle_with_options(name, &options)).await.map(JsCast::unchecked_into)
}

async fn file(parent: &FileSystemDirectoryHandle, name: &str, create: bool) -> Result<FileSystemFileHandle, JsValue> {
    let options = FileSystemGetFileOptions::new();
    options.set_create(create);
    JsFuture::from(parent.get_file_handle_with_options(name, &options)).await.map(JsCast::unchecked_into)
}

/// Removes a file, or a directory if it is empty.
async fn remove(parent: &FileSystemDirectoryHandle, name: &str) -> Result<(), JsValue> {
    opfs::web::DirectoryHandle::from(parent.clone()).remove_entry(name).await
}

async fn copy(source: &FileSystemFileHandle, from: &str, target: &FileSystemFileHandle, to: &str) -> Result<()> {
    let source = crate::handle::Handle::new(from, access(source, from).await?);
    let target = crate::handle::Handle::new(to, access(target, to).await?);
    target.set_len(0)?;
    let mut buf = vec![0; COPY_BYTES];
    let mut offset = 0;
    loop {
        let count = source.read_at(offset, &mut buf)?;
        if count == 0 {
            return target.flush();
        }
        target.write_at(offset, &buf[..count])?;
        offset += count as u64;
    }
}

async fn retry_busy<T>(attempt: impl AsyncFn() -> Result<T, JsValue>) -> Result<T, JsValue> {
    for delay_ms in BACKOFF_MS {
        match attempt().await {
            Err(thrown) if name(&thrown) == "NoModificationAllowedError" => clock::sleep(delay_ms).await,
            result => return result,
        }
    }
    attempt().await
}

/// The error of a lookup. Without `create`, a name of the wrong sort is not there.
fn lookup(thrown: &JsValue, path: &str, create: bool) -> Error {
    if !create && name(thrown) == "TypeMismatchError" {
        return Error::new(Kind::NotFound, "what has this name is a directory, not a file, or lies in a file").at(path);
    }
    from_js(thrown, if create { "creating the file" } else { "looking for the file" }).at(path)
}
