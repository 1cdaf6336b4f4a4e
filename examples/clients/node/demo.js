// The demo: `node demo.js`, or one decision:
//
// node demo.js decide RELATION KEY EXPECTED_STATE NEW_STATE REQUEST_ID
'use strict';

const { Client } = require('pg');
const { FateError, RosterChanged, assign, swap, swapMany, claim, decide } = require('./petition_cas');

const petition = (n) => `00000000-0000-4000-8000-00000000000${n}`;

async function connect() {
  const client = new Client();
  await client.connect();
  return client;
}

// Prints what a call resolved to, or what its loser was told.
async function show(what, call) {
  try {
    console.log(`${what}: ${(await call).state}`);
  } catch (error) {
    if (!(error instanceof FateError)) throw error;
    console.log(error instanceof RosterChanged
      ? `${what}: RosterChanged, added ${JSON.stringify(error.added)}, removed ${JSON.stringify(error.removed)}`
      : `${what}: ${error.name}, found ${error.currentState}, which leads to ${JSON.stringify(error.allowed)}`);
  }
}

async function resolve(client, filter) {
  const { rows } = await client.query(
    "SELECT resolved_ids AS ids, roster_hash AS hash FROM resolve_roster('petition_submissions', $1)", [filter]);
  return rows[0];
}

async function demo(client) {
  await show('assign', assign(client, petition(1), 'RECEIVED', 'ACKNOWLEDGED', { reason: 'agreed' }));
  await show('again', assign(client, petition(1), 'RECEIVED', 'ACKNOWLEDGED'));
  await show('not what it is', assign(client, petition(2), 'DELIBERATING', 'REFERRED'));
  await show('not there', assign(client, petition(9), 'RECEIVED', 'ACKNOWLEDGED'));
  await show('no way', swap(client, 'parcels', [7, 1], 'packing', 'delivered'));
  const seenHash = (await client.query('SELECT evidence_hash(p) FROM payments p WHERE id = 1')).rows[0].evidence_hash;
  await client.query('UPDATE payments SET amount = 9950 WHERE id = 1');
  await show('what was seen', swap(client, 'payments', 1, 'pending', 'approved', { seenHash }));
  for (const one of await swapMany(client, 'parcels', [[7, 1], { id: 2, tenant: 7 }, [7, 9]], 'packing', 'shipped')) {
    console.log(`many: ${one.key} ${one.outcome} ${one.current_state}`);
  }

  const filter = 'state:RECEIVED realm:north';
  let roster = await resolve(client, filter);
  await assign(client, petition(4), 'RECEIVED', 'ACKNOWLEDGED');
  await show('claim', claim(client, 'petition_submissions', filter, roster));
  roster = await resolve(client, filter);
  await client.query('BEGIN');
  const { ids } = await claim(client, 'petition_submissions', filter, roster);
  const outcomes = await swapMany(client, 'petition_submissions', ids, 'RECEIVED', 'ACKNOWLEDGED');
  await client.query('COMMIT');
  console.log(`claimed and decided: ${outcomes.filter((one) => one.outcome === 'assigned').length}`);
  await show('decide', decide(connect, 'payments', 2, 'pending', 'approved', { reason: 'due' }));
}

async function main([command, ...args]) {
  if (command === 'decide') {
    const [relation, key, expectedState, newState, requestId] = args;
    console.log((await decide(connect, relation, key, expectedState, newState, { requestId })).state);
    return;
  }
  const client = await connect();
  try {
    await demo(client);
  } finally {
    await client.end();
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error instanceof FateError ? `${error.name}: ${error.message}` : error);
  process.exitCode = 1;
});
