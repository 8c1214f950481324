// SPDX-License-Identifier: Apache-2.0
// Prints the bytes of a vector's code as numbers, and how many of all codes are the same: codes.js VIEW ID.
const fs = require('fs');
const [view, id] = process.argv.slice(2);
const code = fs.readFileSync(`${view}/${id}`);
for (const byte of code) console.log(byte);
const all = fs.readFileSync(`${view}/.vecfs/codes.npy`).subarray(128);
let same = 0;
for (let at = 0; at < all.length; at += code.length) same += all.subarray(at, at + code.length).equals(code);
console.log(same);
