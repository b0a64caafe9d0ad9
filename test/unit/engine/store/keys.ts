// Keys as the disk knows them.
export { META_KEY, toBytes as fromLatin1 } from '../../../../src/engine/store/layout.ts';
