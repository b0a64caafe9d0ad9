import { expect, test } from 'vitest';
import { bytes, StoreFixture } from './harness.ts';

test('the digest of an index does not change while the next entry is applied', async () => {
  const store = await new StoreFixture(1).open();
  store.apply.put('a', bytes('1'));
  store.apply.commitBatch({ index: 1_000, term: 1, timeMs: 0 });
  const digest = store.apply.digest();
  // A digest command may stand behind others in the entry that follows its index.
  store.apply.put('a', bytes('2'));
  expect(store.apply.digestAt(1_000)).toBe(digest);
  store.apply.commitBatch({ index: 1_001, term: 1, timeMs: 0 });
  expect(store.apply.digestAt(1_000)).toBe(digest);
});
