// SPDX-License-Identifier: Apache-2.0
// Prints the float32 values of a vector, one a line.
const data = require('fs').readFileSync(process.argv[2]);
for (let i = 0; i < data.length; i += 4) console.log(data.readFloatLE(i).toFixed(3));
