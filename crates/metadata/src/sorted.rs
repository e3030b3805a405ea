//! A sorted map that is cheap to clone and to change a little: what images are made of.
