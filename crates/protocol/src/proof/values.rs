//! Values of the wire's types, told and made up.

use super::{Bytes, Json, Prove, Records, Uuid};

/// Numbers from a seed, the same on every machine (SplitMix64).
#[derive(Debug)]
pub struct Chance {
    state: u64,
}

impl Chance {
    /// Begins at a seed.
    pub fn of(seed: u64) -> Chance {
        Chance { state: seed }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn bytes(&mut self) -> Vec<u8> {
        // Long enough, now and then, for a length of two bytes.
        let len = if self.one_in(12) { 120 + self.below(20) } else { self.below(9) };
        (0..len).map(|_| self.bits() as u8).collect()
    }
}

macro_rules! whole_numbers {
    ($($kind:ty)*) => {$(
        impl Prove for $kind {
            fn tell(&self, _: i16, json: &mut Json) {
                json.word(self);
            }

            /// Small ones and the ends of the range among them: defaults must come up, so that they are left out.
            fn make_up(chance: &mut Chance, _: i16) -> Self {
                match chance.below(8) {
                    0 => 0,
                    1 => <$kind>::MAX,
                    2 => <$kind>::MIN,
                    3 => (0 as $kind).wrapping_sub(1),
                    4 => chance.below(100) as $kind,
                    _ => chance.bits() as $kind,
                }
            }
        }
    )*};
}

whole_numbers!(i8 i16 u16 i32 u32 i64);

impl Prove for bool {
    fn tell(&self, _: i16, json: &mut Json) {
        json.word(self);
    }

    fn make_up(chance: &mut Chance, _: i16) -> Self {
        chance.one_in(2)
    }
}

impl Prove for f64 {
    fn tell(&self, _: i16, json: &mut Json) {
        json.word(format_args!("{self:?}"));
    }

    /// Of the size that Java and Rust write alike.
    fn make_up(chance: &mut Chance, _: i16) -> Self {
        (chance.below(8000) as f64 - 4000.0) / 8.0
    }
}

impl Prove for String {
    fn tell(&self, _: i16, json: &mut Json) {
        json.text(self);
    }

    fn make_up(chance: &mut Chance, _: i16) -> Self {
        const LETTERS: [char; 12] = ['a', 'k', 'Z', '0', '-', '.', ' ', '"', '\\', '\n', 'é', '字'];
        chance.bytes().into_iter().map(|byte| LETTERS[usize::from(byte) % LETTERS.len()]).collect()
    }
}

impl Prove for Bytes {
    fn tell(&self, _: i16, json: &mut Json) {
        json.bytes(self);
    }

    fn make_up(chance: &mut Chance, _: i16) -> Self {
        chance.bytes().into()
    }
}

impl Prove for Records {
    /// Told with their name: [`Json::records`].
    fn tell(&self, _: i16, json: &mut Json) {
        json.word(self.size_bytes());
    }

    fn make_up(chance: &mut Chance, _: i16) -> Self {
        Records::Bytes(chance.bytes().into())
    }
}

impl Prove for Uuid {
    fn tell(&self, _: i16, json: &mut Json) {
        json.text(&self.to_string());
    }

    fn make_up(chance: &mut Chance, _: i16) -> Self {
        if chance.one_in(5) {
            return Uuid::ZERO;
        }
        Uuid((u128::from(chance.bits()) << 64 | u128::from(chance.bits())).to_be_bytes())
    }
}

impl<T: Prove> Prove for Vec<T> {
    fn tell(&self, version: i16, json: &mut Json) {
        json.open('[');
        for element in self {
            element.tell(version, json);
        }
        json.close(']');
    }

    fn make_up(chance: &mut Chance, version: i16) -> Self {
        (0..chance.below(4)).map(|_| T::make_up(chance, version)).collect()
    }
}

impl<T: Prove> Prove for Option<T> {
    fn tell(&self, version: i16, json: &mut Json) {
        match self {
            None => json.word("null"),
            Some(value) => value.tell(version, json),
        }
    }

    fn make_up(chance: &mut Chance, version: i16) -> Self {
        (!chance.one_in(3)).then(|| T::make_up(chance, version))
    }
}
