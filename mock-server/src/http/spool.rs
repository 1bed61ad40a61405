//! Where bodies are kept that are too long for memory: one file, cut into blocks.
//!
//! The file has no name once it is open, so nothing is left behind however the process ends; but one that belongs to a
//! state on disk has a name, and stays. Blocks of bodies that are gone are used again, and the file shrinks when its
//! last ones are free. A file that stays does so only while somebody writes down which bodies are gone: a process that
//! ends drops all of them, and the next one finds them where its rows say.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::model::{Digest, Spooled};

/// Keeps long bodies on disk.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: PathBuf,
    /// Where it stays.
    name: Option<PathBuf>,
    blocks_max: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Made when the first long body comes.
    file: Option<Arc<File>>,
    /// Blocks in the file, used or not.
    end: u64,
    free: BTreeSet<u64>,
    /// Whether blocks of bodies that are dropped stay taken, because nobody writes down that these are gone.
    is_frozen: bool,
}

/// There is no block left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Spool {
    /// Keeps up to about `bytes_max` bytes in a file in `dir`.
    pub(crate) fn new(dir: PathBuf, bytes_max: u64) -> Arc<Self> {
        let blocks_max = bytes_max.div_ceil(BLOCK_BYTES);
        Arc::new(Self { dir, name: None, blocks_max, state: Mutex::default() })
    }

    /// The same in a file that stays. What is in it must be [adopted](Self::adopt), and then [settled](Self::settle).
    /// It is [frozen](Self::freeze) first.
    pub(crate) fn kept(path: PathBuf, bytes_max: u64) -> Arc<Self> {
        let dir = path.parent().map(Path::to_owned).unwrap_or_default();
        let blocks_max = bytes_max.div_ceil(BLOCK_BYTES);
        let state = Mutex::new(State { is_frozen: true, ..State::default() });
        Arc::new(Self { dir, name: Some(path), blocks_max, state })
    }

    /// From now on bodies that are dropped leave their blocks as they are.
    pub(crate) fn freeze(&self) {
        self.lock().is_frozen = true;
    }

    /// From now on bodies that are dropped free their blocks: somebody writes down that they are gone.
    pub(crate) fn thaw(&self) {
        self.lock().is_frozen = false;
    }

    /// A body that is in the file already, in runs of blocks. `None` if it is not there whole.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        len: u64,
        digest: u128,
        runs: &[(u64, u64)],
    ) -> Option<Spooled> {
        let file = self.open().ok()?;
        let room = file.metadata().ok()?.len().div_ceil(BLOCK_BYTES);
        let count: u64 = runs.iter().try_fold(0u64, |sum, (_, run)| sum.checked_add(*run))?;
        let is_inside =
            |(first, run): &(u64, u64)| first.checked_add(*run).is_some_and(|end| end <= room);
        if count < len.div_ceil(BLOCK_BYTES) || !runs.iter().all(is_inside) {
            return None;
        }
        let blocks: Vec<u64> = runs.iter().flat_map(|(first, run)| *first..first + run).collect();
        let mut state = self.lock();
        // While bodies are being adopted, `free` has what is taken.
        if blocks.iter().any(|block| !state.free.insert(*block)) {
            return None;
        }
        drop(state);
        let stored = Stored { spool: Arc::clone(self), file, blocks, len };
        Some(Spooled::new(len, digest, Arc::new(stored)))
    }

    /// All that is to be adopted is: what is left over is free.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let file = self.open()?;
        let mut state = self.lock();
        let taken = std::mem::take(&mut state.free);
        state.end = taken.last().map_or(0, |last| last + 1);
        state.free = (0..state.end).filter(|block| !taken.contains(block)).collect();
        let end = state.end * BLOCK_BYTES;
        drop(state);
        if file.metadata()?.len() > end { file.set_len(end) } else { Ok(()) }
    }

    /// Returns once all that was written is safe.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let file = self.lock().file.clone();
        file.map_or(Ok(()), |file| file.sync_data())
    }

    /// The file that stays, else the folder of the one that does not.
    pub(crate) fn path(&self) -> PathBuf {
        self.name.clone().unwrap_or_else(|| self.dir.clone())
    }

    /// Makes the file, if there is none yet.
    pub(crate) fn open(&self) -> io::Result<Arc<File>> {
        let mut state = self.lock();
        if let Some(file) = &state.file {
            return Ok(Arc::clone(file));
        }
        let file = match &self.name {
            None => create(&self.dir)?,
            Some(path) => {
                let mut options = OpenOptions::new();
                options.read(true).write(true).create(true).truncate(false);
                owned(&mut options).open(path)?
            }
        };
        let file = Arc::new(file);
        state.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// The folder of the file.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Begins a body.
    pub(crate) fn writer(self: &Arc<Self>) -> io::Result<Writer> {
        let file = self.open()?;
        let stored = Stored { spool: Arc::clone(self), file, blocks: Vec::new(), len: 0 };
        Ok(Writer { stored, digest: Digest::new() })
    }

    /// Cuts free blocks off the end of the file.
    fn trim(&self) {
        let mut state = self.lock();
        if state.is_frozen {
            return;
        }
        let before = state.end;
        while state.end > 0 {
            let last = state.end - 1;
            if !state.free.remove(&last) {
                break;
            }
            state.end = last;
        }
        if state.end < before
            && let Some(file) = &state.file
        {
            // A file that stays long costs room on disk and nothing else.
            let _ = file.set_len(state.end * BLOCK_BYTES);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body that is being written. Dropping it frees its blocks.
#[derive(Debug)]
pub(crate) struct Writer {
    stored: Stored,
    digest: Digest,
}

impl Writer {
    /// Makes sure that so many more bytes can be written.
    pub(crate) fn reserve(&mut self, bytes: usize) -> Result<(), Full> {
        let wanted = (self.stored.len + bytes as u64).div_ceil(BLOCK_BYTES);
        let mut state = self.stored.spool.lock();
        while (self.stored.blocks.len() as u64) < wanted {
            let block = match state.free.pop_first() {
                Some(block) => block,
                None if state.end < self.stored.spool.blocks_max => {
                    state.end += 1;
                    state.end - 1
                }
                None => return Err(Full),
            };
            self.stored.blocks.push(block);
        }
        Ok(())
    }

    /// Writes what was reserved. Blocks the thread.
    pub(crate) fn write(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        for piece in pieces {
            self.digest.update(piece);
            let mut rest = &piece[..];
            while !rest.is_empty() {
                let (at, room) = self.stored.stretch(self.stored.len);
                let now = rest.len().min(usize::try_from(room).unwrap_or(usize::MAX));
                if now == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                write_at(&self.stored.file, &rest[..now], at)?;
                self.stored.len += now as u64;
                rest = &rest[now..];
            }
        }
        Ok(())
    }

    /// The handle of the whole body.
    pub(crate) fn finish(self) -> Spooled {
        let digest = self.digest.finish();
        Spooled::new(self.stored.len, digest, Arc::new(self.stored))
    }
}

/// A body on disk. Dropping it frees its blocks, unless the spool is [frozen](Spool::freeze).
#[derive(Debug)]
pub(crate) struct Stored {
    spool: Arc<Spool>,
    file: Arc<File>,
    blocks: Vec<u64>,
    len: u64,
}

impl Stored {
    /// What a handle stands for.
    pub(crate) fn of(spooled: &Spooled) -> Option<Arc<Self>> {
        Arc::clone(spooled.keeper()).downcast().ok()
    }

    /// Reads from `from` up to `to`, but not more than [`READ_BYTES`]. Blocks the thread.
    pub(crate) fn read(&self, from: u64, to: u64) -> io::Result<Bytes> {
        let len = to.min(self.len).saturating_sub(from).min(READ_BYTES);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let mut done = 0;
        while done < bytes.len() {
            let (at, room) = self.stretch(from + done as u64);
            let now = (bytes.len() - done).min(usize::try_from(room).unwrap_or(usize::MAX));
            if now == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            read_at(&self.file, &mut bytes[done..done + now], at)?;
            done += now;
        }
        Ok(bytes.into())
    }

    /// Where in the file the byte at `offset` is, and how many follow it there.
    fn stretch(&self, offset: u64) -> (u64, u64) {
        let index = usize::try_from(offset / BLOCK_BYTES).unwrap_or(usize::MAX);
        let Some(blocks) = self.blocks.get(index..).filter(|blocks| !blocks.is_empty()) else {
            return (0, 0);
        };
        let (first, inside) = (blocks[0], offset % BLOCK_BYTES);
        let run = (first..).zip(blocks).take_while(|(expected, block)| expected == *block).count();
        (first * BLOCK_BYTES + inside, run as u64 * BLOCK_BYTES - inside)
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        let mut state = self.spool.lock();
        if state.is_frozen {
            return;
        }
        state.free.extend(self.blocks.drain(..));
        let has_tail = state.end.checked_sub(1).is_some_and(|last| state.free.contains(&last));
        drop(state);
        if !has_tail {
            return;
        }
        // Cutting a long file takes its time, and whoever drops may hold a lock.
        let spool = Arc::clone(&self.spool);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || spool.trim())),
            Err(_) => spool.trim(),
        }
    }
}

/// The blocks that a body takes, in order.
pub(crate) fn blocks_of(body: &Spooled) -> Vec<u64> {
    Stored::of(body).map(|stored| stored.blocks.clone()).unwrap_or_default()
}

/// A new file that nobody else can open, and that is gone when it is closed.
fn create(dir: &Path) -> io::Result<File> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let mut tries = 0;
    loop {
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("fal-mock-{}-{number}.spool", std::process::id()));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        match private(&mut options).open(&path) {
            Ok(file) => {
                forget(&path)?;
                return Ok(file);
            }
            // Left behind by somebody with the same number; never opened, whatever it is.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < TRIES_MAX => {
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600)
}

/// For its owner only.
#[cfg(unix)]
fn owned(options: &mut OpenOptions) -> &mut OpenOptions {
    private(options)
}

#[cfg(windows)]
const fn owned(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(unix)]
fn forget(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

/// Nobody else may open it, and the system removes it when it is closed.
#[cfg(windows)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::windows::fs::OpenOptionsExt as _;

    const FILE_FLAG_DELETE_ON_CLOSE: u32 = 0x0400_0000;
    options.share_mode(0).custom_flags(FILE_FLAG_DELETE_ON_CLOSE)
}

#[cfg(windows)]
fn forget(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(windows)]
fn write_at(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let done = std::os::windows::fs::FileExt::seek_write(file, bytes, at)?;
        if done == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[done..];
        at += done as u64;
    }
    Ok(())
}

#[cfg(windows)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let read =
            std::os::windows::fs::FileExt::seek_read(file, &mut bytes[done..], at + done as u64)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        done += read;
    }
    Ok(())
}

/// The unit of room. A body wastes half of one on average.
const BLOCK_BYTES: u64 = 256 << 10;

/// Read at once.
pub(crate) const READ_BYTES: u64 = 512 << 10;

/// Names that are tried for the file.
const TRIES_MAX: u32 = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spool(blocks: u64) -> Arc<Spool> {
        Spool::new(std::env::temp_dir(), blocks * BLOCK_BYTES)
    }

    fn end(spool: &Spool) -> u64 {
        let state = spool.lock();
        let len = state.file.as_ref().map_or(0, |file| file.metadata().unwrap().len());
        assert!(len <= state.end * BLOCK_BYTES);
        state.end
    }

    /// Bytes that differ from place to place and from body to body.
    fn body(seed: u64, len: usize) -> Vec<u8> {
        (0..len as u64).map(|at| (at.wrapping_mul(seed * 2 + 1) >> 7) as u8).collect()
    }

    fn write(spool: &Arc<Spool>, bytes: &[u8], step: usize) -> Result<Spooled, Full> {
        let mut writer = spool.writer().unwrap();
        for piece in bytes.chunks(step.max(1)) {
            writer.reserve(piece.len())?;
            writer.write(&[Bytes::copy_from_slice(piece)]).unwrap();
        }
        Ok(writer.finish())
    }

    fn read(spooled: &Spooled, from: u64, to: u64) -> Vec<u8> {
        let stored = Stored::of(spooled).unwrap();
        let (mut out, mut at) = (Vec::new(), from);
        while at < to {
            let bytes = stored.read(at, to).unwrap();
            at += bytes.len() as u64;
            out.extend_from_slice(&bytes);
        }
        out
    }

    #[test]
    fn room_is_bounded_and_comes_back() {
        let spool = spool(3);
        let block = BLOCK_BYTES as usize;
        let first = write(&spool, &body(1, block + 1), block).unwrap();
        assert_eq!(end(&spool), 2);
        let second = write(&spool, &body(2, block), block).unwrap();
        assert_eq!(write(&spool, b"x", 1).unwrap_err(), Full);
        drop(first);
        assert_eq!(end(&spool), 3, "what is in the middle stays");
        let third = write(&spool, &body(3, 2 * block), 1000).unwrap();
        assert_eq!(read(&second, 0, second.len()), body(2, block));
        assert_eq!(read(&third, 0, third.len()), body(3, 2 * block));
        drop((second, third));
        assert_eq!((end(&spool), spool.lock().free.len()), (0, 0), "the file shrinks");
    }

    #[test]
    fn nothing_is_to_be_seen_in_the_folder() {
        let dir = std::env::temp_dir().join(format!("fal-mock-test-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let spool = Spool::new(dir.clone(), BLOCK_BYTES);
        let body = write(&spool, b"secret", 6).unwrap();
        if cfg!(unix) {
            assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        }
        assert_eq!(read(&body, 2, 5), b"cre");
        drop((body, spool));
        std::fs::remove_dir(&dir).unwrap();
        assert!(Spool::new(dir, BLOCK_BYTES).open().is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

        #[test]
        fn bodies_read_back(
            steps in proptest::collection::vec((0usize..700_000, 1usize..400_000, any::<bool>()), 1..12),
            from in any::<prop::sample::Index>(),
        ) {
            let spool = spool(16);
            let mut kept: Vec<(Spooled, Vec<u8>)> = Vec::new();
            for (at, (len, step, drops)) in steps.into_iter().enumerate() {
                if drops && !kept.is_empty() {
                    kept.remove(from.index(kept.len()));
                }
                let bytes = body(at as u64, len);
                if let Ok(spooled) = write(&spool, &bytes, step) {
                    prop_assert_eq!(spooled.len(), len as u64);
                    kept.push((spooled, bytes));
                }
                for (spooled, bytes) in &kept {
                    let start = from.index(bytes.len() + 1);
                    prop_assert_eq!(&read(spooled, start as u64, bytes.len() as u64)[..], &bytes[start..]);
                }
            }
            drop(kept);
            prop_assert_eq!(end(&spool), 0);
        }
    }
}
