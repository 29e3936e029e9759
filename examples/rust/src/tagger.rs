//! The model `tagger` as a safe type: `features` of `[batch][4]` in, `scores` of `[batch][2]` out.
//!
//! Names, shapes and types are those of `tagger.h`; another model has others.
use std::alloc::{alloc, dealloc, handle_alloc_error, Layout};
use std::ffi::CStr;
use std::fmt;
use std::os::raw::{c_char, c_int, c_void};
use std::ptr::{self, NonNull};

/// Numbers in a row of the input.
pub const FEATURES: usize = 4;
/// Numbers in a row of the output.
pub const SCORES: usize = 2;

const WORKSPACE_ALIGNMENT: usize = 64;

// As tagger.h declares them. `Info` is the beginning of struct tfaot_model_info.
extern "C" {
    fn tagger_run(
        batch: i64,
        features: *const f32,
        scores: *mut f32,
        workspace: *mut c_void,
    ) -> c_int;
    fn tagger_workspace_bytes(batch: i64) -> i64;
    fn tagger_info() -> *const Info;
}

#[repr(C)]
struct Info {
    abi_version: u32,
    struct_bytes: u32,
    name: *const c_char,
}

/// Why a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// A slice isn't as long as so many rows take.
    WrongSize { expected: usize, given: usize },
    /// An `enum tfaot_status` other than `TFAOT_OK`.
    Status(i32),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::WrongSize { expected, given } => {
                write!(f, "expected {expected} numbers, given {given}")
            }
            Error::Status(status) => write!(f, "status {status} of tfaot"),
        }
    }
}

impl std::error::Error for Error {}

/// Scratch memory of one thread, which grows as calls need it.
pub struct Tagger {
    memory: Option<NonNull<u8>>,
    layout: Layout,
}

// The memory belongs to this value alone; the model itself has no state.
unsafe impl Send for Tagger {}

impl Tagger {
    /// The model, with no memory yet.
    pub fn new() -> Self {
        let layout = Layout::from_size_align(0, WORKSPACE_ALIGNMENT).unwrap();
        Tagger { memory: None, layout }
    }

    /// The model's name.
    pub fn name() -> &'static str {
        // Constant data that lives as long as the program, in UTF-8.
        let name = unsafe { CStr::from_ptr((*tagger_info()).name) };
        name.to_str().unwrap_or("")
    }

    /// The scores of so many rows.
    ///
    /// # Errors
    /// `WrongSize` where `features` isn't a whole number of rows or `scores` has other than as many.
    pub fn run(&mut self, features: &[f32], scores: &mut [f32]) -> Result<(), Error> {
        let rows = features.len() / FEATURES;
        check(rows * FEATURES, features.len())?;
        check(rows * SCORES, scores.len())?;
        let batch = i64::try_from(rows).expect("slices have fewer elements");
        // A negative size means that the batch can't run, and the call says why.
        let bytes = unsafe { tagger_workspace_bytes(batch) };
        let workspace = self.reserve(usize::try_from(bytes).unwrap_or(0));
        // Safe: the slices have the model's sizes, and &mut means that nothing else uses them.
        let status =
            unsafe { tagger_run(batch, features.as_ptr(), scores.as_mut_ptr(), workspace) };
        if status == 0 {
            Ok(())
        } else {
            Err(Error::Status(status))
        }
    }

    fn reserve(&mut self, bytes: usize) -> *mut c_void {
        if bytes > self.layout.size() {
            self.release();
            self.layout = Layout::from_size_align(bytes, WORKSPACE_ALIGNMENT).unwrap();
            // Safe: the size isn't 0.
            let memory = unsafe { alloc(self.layout) };
            self.memory = NonNull::new(memory);
            if self.memory.is_none() {
                handle_alloc_error(self.layout);
            }
        }
        self.memory.map_or(ptr::null_mut(), |m| m.as_ptr().cast())
    }

    fn release(&mut self) {
        if let Some(memory) = self.memory.take() {
            unsafe { dealloc(memory.as_ptr(), self.layout) };
        }
    }
}

impl Default for Tagger {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Tagger {
    fn drop(&mut self) {
        self.release();
    }
}

fn check(expected: usize, given: usize) -> Result<(), Error> {
    if expected == given {
        Ok(())
    } else {
        Err(Error::WrongSize { expected, given })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize) -> Vec<f32> {
        (0..count * FEATURES).map(|i| (i % 13) as f32 / 4.0 - 1.0).collect()
    }

    fn scores_of(features: &[f32]) -> Vec<f32> {
        let mut scores = vec![0.0; features.len() / FEATURES * SCORES];
        Tagger::new().run(features, &mut scores).unwrap();
        scores
    }

    #[test]
    fn has_its_name() {
        assert_eq!(Tagger::name(), "tagger");
    }

    #[test]
    fn scores_of_a_row_add_up_to_one() {
        for row in scores_of(&rows(5)).chunks(SCORES) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{row:?}");
        }
    }

    #[test]
    fn batch_size_does_not_change_a_bit() {
        let (features, mut model) = (rows(33), Tagger::new());
        let all = scores_of(&features);
        for (row, expected) in features.chunks(FEATURES).zip(all.chunks(SCORES)) {
            let mut scores = [0.0; SCORES];
            model.run(row, &mut scores).unwrap();
            assert_eq!(scores, expected);
        }
    }

    #[test]
    fn no_rows_are_fine() {
        assert!(scores_of(&[]).is_empty());
    }

    #[test]
    fn wrong_sizes_are_errors() {
        let mut scores = [0.0; SCORES];
        let error = Tagger::new().run(&[0.0; FEATURES + 1], &mut scores).unwrap_err();
        assert_eq!(error, Error::WrongSize { expected: FEATURES, given: FEATURES + 1 });
        let error = Tagger::new().run(&[0.0; 2 * FEATURES], &mut scores).unwrap_err();
        assert_eq!(error, Error::WrongSize { expected: 2 * SCORES, given: SCORES });
    }

    #[test]
    fn threads_share_the_model() {
        let features = rows(77);
        let expected = scores_of(&features);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut model = Tagger::new();
                    let mut scores = vec![0.0; expected.len()];
                    for _ in 0..50 {
                        model.run(&features, &mut scores).unwrap();
                        assert_eq!(scores, expected);
                    }
                });
            }
        });
    }
}
