// Says where apps should be: here, where the most memory is left.

import { policy, Score } from "flocker-sdk";

export default policy({
  score(node, request) {
    // Where the app is already, its memory is among the promised.
    const added = request.isAt(node) ? 0 : request.memory;
    const left = Math.max(0, node.memory - node.memoryPromised - added);
    return Score.share(left, node.memory).because(`${node.apps} apps`);
  },
});
