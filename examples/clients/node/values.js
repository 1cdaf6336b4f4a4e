// What becomes of keys and values of each type: `node values.js`, after ../values.sql.
'use strict';

process.env.TZ = 'Europe/Berlin'; // where midnight is another day in UTC

const { Client } = require('pg');
const { FateError, swap, swapMany, claim, decide } = require('./petition_cas');

const odd = '50% "odd"?.';
const values = [
  ['string', 'text', 'O\'Brien "?%s\\ ü'],
  ['BigInt', 'bigint', 2n ** 53n + 1n],
  ['number', 'double precision', 0.1],
  ['boolean', 'boolean', true],
  ['Buffer', 'bytea', Buffer.from('\0ab\xff', 'latin1')],
  ['Uint8Array', 'bytea', new Uint8Array([0, 97, 98, 255])],
  ['Date, a day', 'date', new Date(2026, 2, 1)],
  ['Date, here', 'timestamp', new Date(2026, 2, 1, 9, 30, 0, 250)],
  ['Date, a time', 'timestamptz', new Date('2026-03-01T08:30:00.25Z')],
];
const refusals = [['Object', new (class Money {})()], ['Map', new Map([[1, 2]])], ['Float64Array', new Float64Array(1)],
  ['function', () => 1], ['symbol', Symbol('a')], ['invalid Date', new Date(NaN)], ['half a pair', '\ud800']];
const refusedKeys = [['number', 2 ** 53], ['NaN', NaN]];

async function refused(call) {
  try {
    await call();
    return 'sent';
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) return error.message;
    throw error;
  }
}

// The SQLSTATE of the server's error, if it is not one of petition_cas.
async function state(call) {
  try {
    await call();
    return 'sent';
  } catch (error) {
    return error instanceof FateError ? error.name : error.code ?? error.message;
  }
}

async function show(client) {
  const ask = async (sql, ...parameters) => (await client.query(sql, parameters)).rows[0];
  const stored = async (type) => Object.values(await ask('SELECT * FROM stored($1)', type)).join(' ');
  for (const [name, type, value] of values) {
    await swap(client, odd + type, value, 'open', 'held', { changes: { value, document: [value] } });
    const [{ key }] = await swapMany(client, odd + type, [value], 'held', 'open');
    await swap(client, `${odd + type} part`, [1, value], 'open', 'held');
    const [part] = await swapMany(client, `${odd + type} part`, [{ id: value, n: 1 }], 'held', 'open');
    console.log(`${name}: key ${key}, part ${part.key}, value ${await stored(type)}`);
  }
  const document = { n: null, nan: NaN, more: { a: ['b', 1, true] } };
  await swap(client, `${odd}text`, 'red', 'open', 'held', { changes: { value: null, document } });
  await swap(client, `${odd}text`, 'red', 'held', 'open', { changes: null });
  console.log(`null in changes: ${await stored('text')}`);
  for (const nothing of [null, undefined]) {
    for (const [form, call] of [['key', () => swap(client, `${odd}text`, nothing, 'open', 'won')],
      ['keys', () => swapMany(client, `${odd}text`, nothing, 'open', 'won')],
      ['one of keys', () => swapMany(client, `${odd}text`, [nothing], 'open', 'won')],
      ['part', () => swap(client, `${odd}text part`, [1, nothing], 'open', 'won')]]) {
      console.log(`${nothing} as ${form}: ${await state(call)}`);
    }
  }
  const change = (changes) => refused(() => swap(client, `${odd}text`, 'red', 'open', 'held', { changes }));
  for (const [name, value] of [...refusals, ...refusedKeys]) {
    const told = new Set([await refused(() => swap(client, `${odd}text`, value, 'open', 'won')),
      await refused(() => swap(client, `${odd}text part`, [1, value], 'open', 'won')),
      await refused(() => swap(client, `${odd}text part`, { n: 1, id: value }, 'open', 'won')),
      await refused(() => swapMany(client, `${odd}text`, [value], 'open', 'won'))]);
    if (!refusedKeys.some((one) => one[1] === value || one[0] === name)) told.add(await change({ document: [value] }));
    console.log(`${name}: ${[...told].join(' ')}`);
  }
  console.log(`part: ${await refused(() => swap(client, `${odd}text part`, [1, [2]], 'open', 'won'))}`);
  console.log(`undefined in changes: ${await change({ value: undefined })}`);
  console.log(`changes: ${await change(['document'])}`);
  console.log(`keys: ${await refused(() => swapMany(client, `${odd}text`, 'red', 'open', 'held'))}`);
  for (const name of [undefined, '', '.a', 'a\0b', 'a'.repeat(64)]) {
    const told = await refused(() => swap(client, name, 1, 'open', 'won'));
    const same = told === await refused(() => swapMany(client, name, [1], 'open', 'won'))
      && told === await refused(() => claim(client, name, '', { ids: [], hash: '' }));
    console.log(`relation: ${told} ${same}`);
  }
  const roster = await ask("SELECT resolved_ids AS ids, roster_hash AS hash FROM resolve_roster($1::regclass, 'state:open')",
    '"50% ""odd""?"."Orders"');
  console.log(`claim: ${(await claim(client, `${odd}Orders`, 'state:open', roster)).ids}`,
    await state(() => claim(client, `${odd}orders`, 'state:open', roster)));
  for (const id of ['no JSON', '["a"]', 'null', '']) {
    console.log(`PF001 with DETAIL ${id}: ${await state(() => swap(client, 'strange', id, 'open', 'won'))}`);
  }

  // A connection that is lost when it has been made, and before it is used.
  let made = 0;
  const lost = await decide(async () => {
    const one = new Client();
    await one.connect();
    if (++made > 1) return one;
    const ended = new Promise((resolve) => { one.on('error', resolve).once('end', resolve); });
    await client.query('SELECT pg_terminate_backend($1, 10000)', [one.processID]);
    await ended;
    return one;
  }, 'late', 1, 'open', 'won');
  console.log(`lost: ${lost.state}, ${made} connections`);
}

(async () => {
  const client = new Client();
  await client.connect();
  try {
    await show(client);
  } finally {
    await client.end();
  }
})();
