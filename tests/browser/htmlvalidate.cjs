// What html-validate holds a page against: its recommended rules, but for what is about taste.
module.exports = {
  root: true,
  extends: ["html-validate:recommended"],
  rules: {
    // A title names the team, and a company names its teams as it likes.
    "long-title": "off",
    // nbconvert writes void elements with a slash, which HTML allows.
    "void-style": "off",
    // An id of the catalog is also the address that its script reads; HTML forbids only white space.
    "valid-id": ["error", { relaxed: true }],
    // A table's scrolling box is a named region that the keyboard reaches; a section may not take focus.
    "prefer-native-element": ["error", { exclude: ["region"] }],
  },
};
