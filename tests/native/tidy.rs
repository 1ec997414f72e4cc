//! The house rules of DESIGN.md, as tests over the checkout.
