//! What is under test: a store alone, and a store behind `Local`, both as a script drives them.

use std::rc::Rc;

use statik_bridge::pages::local::Local;
use statik_bridge::pages::{Checkpoint, CommitId, Durability, PAGE_BYTES, PageStore, Paged, Pages, View};
use statik_disk::{Error, Kind, Open, Result, SimDisk};
use statik_store::{Options, Store};

use super::script::PATHS;

/// No checkpoint of a script takes so many slices.
const MAX_SLICES: usize = 1000;

/// What every file holds, by its index.
pub type Contents = Vec<Vec<u8>>;

/// How scripts drive a store.
pub trait Subject {
    fn stage(&mut self, file: usize, offset: u64, bytes: &[u8]) -> Result<()>;
    fn stage_len(&mut self, file: usize, len: u64) -> Result<()>;
    fn discard(&mut self, file: usize) -> Result<()>;
    fn commit(&mut self, files: &[usize], durability: Durability, id: Option<CommitId>) -> Result<u64>;
    fn committed(&self, id: CommitId) -> Result<Option<u64>>;
    fn durable(&mut self) -> Result<u64>;
    fn slice(&mut self) -> Result<()>;
    /// Whether all was copied; not, if the held view is in the way.
    fn checkpoint(&mut self) -> Result<bool>;
    fn hold(&mut self) -> Result<()>;
    fn release(&mut self) -> Result<()>;
    /// What the held view sees.
    fn held(&self) -> Result<Option<Contents>>;
    /// What the newest commit made of the files.
    fn contents(&self) -> Result<Contents>;
    /// Nothing may be staged in the file, nor a view held.
    fn settle(&mut self, file: usize) -> Result<()>;
    fn store(&self) -> &Store;
}

/// Opens the store on a disk, and its files.
pub type Opener = fn(&SimDisk, &Options) -> Result<Box<dyn Subject>>;

/// The store alone.
pub fn alone(disk: &SimDisk, options: &Options) -> Result<Box<dyn Subject>> {
    let store = Store::open(Rc::new(disk.clone()), *options)?;
    let files = PATHS.iter().map(|path| store.attach(path, Open::Create)).collect::<Result<_>>()?;
    Ok(Box::new(Alone { store, files, held: None }))
}

struct Alone {
    store: Store,
    files: Vec<u32>,
    held: Option<Vec<View>>,
}

impl Alone {
    fn read(&self, file: u32, view: View) -> Result<Vec<u8>> {
        let len = usize::try_from(view.len).map_err(|_| Error::new(Kind::Invalid, "a length beyond memory"))?;
        let mut bytes = vec![0xee; len.next_multiple_of(PAGE_BYTES)];
        self.store.read(file, view.seq, 0, &mut bytes, &mut |_, _| {})?;
        if bytes[len..].iter().any(|byte| *byte != 0) {
            return Err(Error::new(Kind::Corrupt, "there is something beyond the file's end"));
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    fn oldest(&self) -> Option<u64> {
        self.held.iter().flatten().map(|view| view.seq).min()
    }

    fn ids(&self, files: &[usize]) -> Vec<u32> {
        files.iter().map(|file| self.files[*file]).collect()
    }
}

impl Subject for Alone {
    fn stage(&mut self, file: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        self.store.stage(self.files[file], offset, bytes)
    }

    fn stage_len(&mut self, file: usize, len: u64) -> Result<()> {
        self.store.stage_len(self.files[file], len)
    }

    fn discard(&mut self, file: usize) -> Result<()> {
        self.store.discard(self.files[file]);
        Ok(())
    }

    fn commit(&mut self, files: &[usize], durability: Durability, id: Option<CommitId>) -> Result<u64> {
        if self.store.needs_checkpoint() {
            self.checkpoint()?;
        }
        let seq = self.store.commit(&self.ids(files), id, &mut |_| {})?;
        if durability == Durability::Full {
            self.store.flush()?;
        }
        Ok(seq)
    }

    fn committed(&self, id: CommitId) -> Result<Option<u64>> {
        Ok(self.store.committed(id))
    }

    fn durable(&mut self) -> Result<u64> {
        self.store.flush()
    }

    fn slice(&mut self) -> Result<()> {
        if self.store.checkpoint_target()?.is_some() {
            self.store.checkpoint(self.oldest())?;
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<bool> {
        for _ in 0..MAX_SLICES {
            if self.store.checkpoint_target()?.is_none() {
                return Ok(true);
            }
            if let Checkpoint::Blocked(_) = self.store.checkpoint(self.oldest())? {
                return Ok(false);
            }
        }
        Err(Error::new(Kind::Timeout, "the checkpoint does not end"))
    }

    fn hold(&mut self) -> Result<()> {
        self.held = Some(self.files.iter().map(|file| self.store.newest(*file)).collect::<Result<_>>()?);
        Ok(())
    }

    fn release(&mut self) -> Result<()> {
        self.held = None;
        Ok(())
    }

    fn held(&self) -> Result<Option<Contents>> {
        let read =
            |views: &Vec<View>| self.files.iter().zip(views).map(|(file, view)| self.read(*file, *view)).collect();
        self.held.as_ref().map(read).transpose()
    }

    fn contents(&self) -> Result<Contents> {
        self.files.iter().map(|file| self.read(*file, self.store.newest(*file)?)).collect()
    }

    fn settle(&mut self, file: usize) -> Result<()> {
        self.store.detach(self.files[file]);
        let settled = self.store.settle(PATHS[file]);
        self.files[file] = self.store.attach(PATHS[file], Open::Create)?;
        settled
    }

    fn store(&self) -> &Store {
        &self.store
    }
}

/// The store behind `Local`.
pub fn local(disk: &SimDisk, options: &Options) -> Result<Box<dyn Subject>> {
    let store = Rc::new(Store::open(Rc::new(disk.clone()), *options)?);
    let local = Local::new(Rc::clone(&store) as _, || 0.0);
    let open = |path: &&str| local.open(path, Open::Create).map(Some);
    let files = PATHS.iter().map(open).collect::<Result<_>>()?;
    Ok(Box::new(Behind { store, local, files, held: None }))
}

struct Behind {
    store: Rc<Store>,
    local: Local,
    /// All there, but while one is settled.
    files: Vec<Option<Box<dyn Paged>>>,
    held: Option<Vec<Box<dyn Paged>>>,
}

impl Behind {
    fn file(&self, file: usize) -> &dyn Paged {
        self.files[file].as_deref().expect("it is not being settled")
    }

    fn readers(&self) -> Result<Vec<Box<dyn Paged>>> {
        let open = |path: &&str| {
            let file = self.local.open(path, Open::Existing)?;
            file.begin().map(|_| file)
        };
        PATHS.iter().map(open).collect()
    }
}

fn read(file: &dyn Paged) -> Result<Vec<u8>> {
    // One byte more than there should be.
    let mut bytes = vec![0xee; file.len()? as usize + 1];
    let count = file.read_at(0, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

impl Subject for Behind {
    fn stage(&mut self, file: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        let file = self.file(file);
        file.begin()?;
        file.lock()?;
        file.write_at(offset, bytes)
    }

    fn stage_len(&mut self, file: usize, len: u64) -> Result<()> {
        let file = self.file(file);
        file.begin()?;
        file.lock()?;
        file.set_len(len)
    }

    fn discard(&mut self, file: usize) -> Result<()> {
        self.file(file).discard()?;
        self.file(file).end()
    }

    fn commit(&mut self, files: &[usize], durability: Durability, id: Option<CommitId>) -> Result<u64> {
        let ids: Vec<u32> = files.iter().map(|file| self.file(*file).id()).collect();
        let committed = self.local.commit(&ids, durability, id);
        files.iter().try_for_each(|file| self.file(*file).end())?;
        committed
    }

    fn committed(&self, id: CommitId) -> Result<Option<u64>> {
        self.local.committed(id)
    }

    fn durable(&mut self) -> Result<u64> {
        self.local.durable()
    }

    fn slice(&mut self) -> Result<()> {
        self.local.tend().map(drop)
    }

    fn checkpoint(&mut self) -> Result<bool> {
        match self.local.checkpoint() {
            Err(error) if error.kind() == Kind::Busy => Ok(false),
            done => done.map(|()| true),
        }
    }

    fn hold(&mut self) -> Result<()> {
        self.held = Some(self.readers()?);
        Ok(())
    }

    fn release(&mut self) -> Result<()> {
        self.held = None;
        Ok(())
    }

    fn held(&self) -> Result<Option<Contents>> {
        self.held.as_ref().map(|files| files.iter().map(|file| read(&**file)).collect()).transpose()
    }

    fn contents(&self) -> Result<Contents> {
        self.readers()?.iter().map(|file| read(&**file)).collect()
    }

    fn settle(&mut self, file: usize) -> Result<()> {
        self.files[file] = None;
        let settled = self.store.settle(PATHS[file]);
        self.files[file] = Some(self.local.open(PATHS[file], Open::Create)?);
        settled
    }

    fn store(&self) -> &Store {
        &self.store
    }
}
