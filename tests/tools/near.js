// SPDX-License-Identifier: Apache-2.0
// Prints the neighbours of a stored vector, as near/ID and as search/query tell them: near.js COLLECTION ID.
const fs = require('fs');
const [collection, id] = process.argv.slice(2);

function printRest(file) {
  const buffer = Buffer.alloc(4096);
  let n;
  while ((n = fs.readSync(file, buffer, 0, buffer.length, null)) > 0) fs.writeSync(1, buffer, 0, n);
}
printRest(fs.openSync(`${collection}/.vecfs/near/${id}`, 'r'));
const query = fs.openSync(`${collection}/.vecfs/search/query`, 'r+');
fs.writeSync(query, fs.readFileSync(`${collection}/${id}`));
printRest(query);
