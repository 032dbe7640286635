use core::{fmt, marker::PhantomData};

/// A 32-bit address of a `T` in the guest's kernel space; 0 is null.
#[repr(transparent)]
pub struct Ptr32<T: ?Sized>(pub u32, PhantomData<fn() -> *const T>);

impl<T: ?Sized> Ptr32<T> {
    /// The null pointer.
    pub const NULL: Self = Ptr32(0, PhantomData);

    /// A pointer to `addr`.
    pub const fn new(addr: u32) -> Self {
        Ptr32(addr, PhantomData)
    }

    /// Whether the pointer is null.
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }
}

impl<T: ?Sized> Clone for Ptr32<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: ?Sized> Copy for Ptr32<T> {}
impl<T: ?Sized> Default for Ptr32<T> {
    fn default() -> Self {
        Self::NULL
    }
}
impl<T: ?Sized> PartialEq for Ptr32<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T: ?Sized> Eq for Ptr32<T> {}
impl<T: ?Sized> fmt::Debug for Ptr32<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// A 64-bit number as two words, low word first, so that its alignment is 4 everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct U64(pub [u32; 2]);

impl U64 {
    /// Splits a number.
    pub const fn new(value: u64) -> Self {
        U64([value as u32, (value >> 32) as u32])
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0[0] as u64 | (self.0[1] as u64) << 32
    }
}
