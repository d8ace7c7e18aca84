//! Shows nothing beyond what all programs show.

export const begin = () => () => {};
